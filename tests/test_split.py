"""Filters, samples, splits and categories: worked examples and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.config.cards import Categories, Filters, Split
from bench.config.plugins import dataset_card
from bench.data.filters import filter_interactions, find_core
from bench.data.prepared import describe_unused_names, select_tracked
from bench.data.split import (
    Samples,
    describe_split,
    make_samples,
    sort_interactions,
    split_boundaries,
)
from bench.data.windows import find_covered_interactions
from bench.errors import BenchError

ids = st.integers(0, 5)
logs = st.lists(st.tuples(ids, ids, st.integers(0, 20)), max_size=80)
splits = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(
    lambda pair: Split(history=max(pair), min_history=min(pair))
)


def columns(log: list[tuple[int, int, int]]) -> tuple[NDArray[np.int32], ...]:
    table = np.array(log, dtype=np.int64).reshape(-1, 3)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2]


def cut(log: list[tuple[int, int, int]], split: Split) -> tuple[Samples, NDArray[np.intp]]:
    users, _, times = columns(log)
    order = sort_interactions(users, times, np.arange(len(log)))
    return make_samples(users[order], times[order], split), order


# --- samples ------------------------------------------------------------------------------------


@given(logs, splits)
def test_samples_equal_those_of_a_plain_loop(log: list[tuple[int, int, int]], split: Split) -> None:
    """D3's way, section 4.1 steps 6 and 7 of the data notes, written out."""
    expected = []
    for user in range(6):
        rows = [row for row in range(len(log)) if log[row][0] == user]
        rows.sort(key=lambda row: log[row][2])
        for position in range(split.min_history, len(rows)):
            history = rows[max(0, position - split.history) : position]
            expected.append((history, rows[position]))
    expected.sort(key=lambda sample: log[sample[1]][2])
    samples, order = cut(log, split)
    assert [
        (order[start:target].tolist(), int(order[target]))
        for start, target in zip(samples.start, samples.target, strict=True)
    ] == expected


@given(logs, splits)
def test_histories_precede_their_targets_within_one_user(
    log: list[tuple[int, int, int]], split: Split
) -> None:
    users, _, times = columns(log)
    samples, order = cut(log, split)
    users, times = users[order], times[order]
    for start, target in zip(samples.start, samples.target, strict=True):
        assert split.min_history <= target - start <= split.history
        assert (users[start:target] == users[target]).all()
        assert (times[start:target] <= times[target]).all()


@given(logs, splits)
def test_splits_follow_one_another_in_time_and_share_no_sample(
    log: list[tuple[int, int, int]], split: Split
) -> None:
    _, _, times = columns(log)
    samples, order = cut(log, split)
    assert (np.diff(times[order][samples.target]) >= 0).all()
    assert len(set(samples.target.tolist())) == len(samples.target)
    assert 0 <= samples.boundaries[0] <= samples.boundaries[1] <= len(samples.target)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_user_gives_one_sample_a_position_from_ten_on(lengths: list[int]) -> None:
    log = [(user, 0, time) for user, length in enumerate(lengths) for time in range(length)]
    samples, _ = cut(log, Split())
    assert len(samples.target) == sum(max(0, length - 10) for length in lengths)


def test_equal_times_stay_in_order_of_user_then_position() -> None:
    log = [(1, 0, 7), (0, 1, 7), (1, 2, 7), (0, 3, 7), (0, 4, 5)]
    samples, order = cut(log, Split(history=1, min_history=1))
    assert order[samples.target].tolist() == [1, 3, 2]


@given(st.integers(0, 10**7))
def test_boundaries_are_those_of_the_projects_code(num: int) -> None:
    assert split_boundaries(num, (8, 1, 1)) == (int(0.8 * num), int(0.9 * num))


def test_boundaries_of_other_ratios() -> None:
    assert split_boundaries(90_570, (8, 1, 1)) == (72_456, 81_513)
    assert split_boundaries(10, (1, 0, 1)) == (5, 5)
    assert split_boundaries(7, (0, 0, 3)) == (0, 0)


@given(logs, splits)
def test_covered_counts_each_interaction_once(
    log: list[tuple[int, int, int]], split: Split
) -> None:
    samples, _ = cut(log, split)
    inside = {
        offset
        for start, target in zip(samples.start, samples.target, strict=True)
        for offset in range(start, target + 1)
    }
    assert find_covered_interactions(samples.start, samples.target, len(log)).tolist() == sorted(
        inside
    )


# --- filters ------------------------------------------------------------------------------------


@given(logs, st.integers(0, 5), st.integers(0, 5))
def test_the_core_is_the_largest_fixpoint(
    log: list[tuple[int, int, int]], min_user: int, min_item: int
) -> None:
    users, items, _ = columns(log)
    keep = find_core(users, items, np.ones(len(log), bool), min_user=min_user, min_item=min_item)
    again = find_core(users, items, keep, min_user=min_user, min_item=min_item)
    np.testing.assert_array_equal(keep, again)
    assert all(np.sum(users[keep] == user) >= min_user for user in users[keep])
    assert all(np.sum(items[keep] == item) >= min_item for item in items[keep])
    # Taking out one row at a time must end in the same set: the largest core is unique.
    left = set(range(len(log)))
    while True:
        short = [
            row
            for row in sorted(left)
            if sum(users[row] == users[other] for other in left) < min_user
            or sum(items[row] == items[other] for other in left) < min_item
        ]
        if not short:
            break
        left.remove(short[0])
    assert np.flatnonzero(keep).tolist() == sorted(left)


def test_a_core_needs_more_than_one_pass() -> None:
    users = np.array([0, 0, 1, 1, 2], dtype=np.int32)
    items = np.array([0, 1, 0, 1, 1], dtype=np.int32)
    keep = find_core(users, items, np.ones(5, bool), min_user=2, min_item=2)
    assert keep.tolist() == [True, True, True, True, False]
    chain = find_core(users[1:], items[1:], np.ones(4, bool), min_user=2, min_item=2)
    assert not chain.any()


def test_ratings_are_filtered_before_the_core() -> None:
    users = np.array([0, 0, 1, 1], dtype=np.int32)
    items = np.array([0, 1, 0, 1], dtype=np.int32)
    ratings = np.array([5, 4, 3, 4], dtype=np.float32)
    keep = filter_interactions(
        users, items, ratings, Filters(min_rating=4, min_user_interactions=2)
    )
    assert keep.tolist() == [True, True, False, False]


def test_a_minimum_rating_without_ratings_is_refused() -> None:
    one = np.zeros(1, dtype=np.int32)
    with pytest.raises(BenchError, match="no ratings"):
        filter_interactions(one, one, np.full(1, np.nan, np.float32), Filters(min_rating=4))


# --- categories ---------------------------------------------------------------------------------

NAMES = (("root", "rock"), ("root", "rock", "classic rock"), ("root", "jazz"), ("root", "folk"))


def test_dropped_names_make_room_and_removed_ones_do_not() -> None:
    items = np.array([0, 1, 1, 1, 2, 2, 3, 3], dtype=np.int32)
    choice = Categories(top=3, drop=("root",), remove=("classic rock",))
    assert select_tracked(NAMES, items, choice) == ("rock", "folk")
    assert select_tracked(NAMES, items, Categories(top=2)) == ("root", "rock")


def test_ties_go_by_name_and_items_without_interactions_do_not_count() -> None:
    choice = Categories(top=10, drop=("root",))
    assert select_tracked(NAMES, np.array([2, 3], dtype=np.int32), choice) == ("folk", "jazz")
    assert select_tracked(NAMES, np.array([2], dtype=np.int32), Categories(top=0)) == ()


def test_excluded_names_that_no_item_has_are_noted() -> None:
    choice = Categories(drop=("rot", "root"), remove=("blues",))
    notes = describe_unused_names(NAMES, choice)
    assert [note.split("'")[1] for note in notes] == ["blues", "rot"]


# --- which samples are tested -------------------------------------------------------------------

DAY = 86_400
# User 0 has interactions on days 0-5 and user 1 on days 0, 4, 5, 6: eight samples.
TWO_USERS = [(0, item, day * DAY) for item, day in enumerate(range(6))] + [
    (1, item, day * DAY) for item, day in enumerate((0, 4, 5, 6))
]


@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        # All samples in order of day: u0 1, 2, 3; u0 4, u1 4; u0 5, u1 5, u1 6.
        ({}, ([(0, 1), (0, 2), (0, 3), (0, 4)], [(1, 4)], [(0, 5), (1, 5), (1, 6)])),
        ({"target": "first"}, ([(0, 1), (0, 2), (0, 3), (0, 4)], [(1, 4)], [(0, 5), (1, 5)])),
        ({"target": "last"}, ([(0, 1), (0, 2), (0, 3), (0, 4)], [(1, 4)], [(0, 5), (1, 6)])),
        ({"horizon": 1}, ([(0, 1), (0, 2), (0, 3), (0, 4)], [(1, 4)], [(0, 5), (1, 5)])),
        ({"over": "last"}, ([(0, 1), (0, 2), (0, 3), (1, 4)], [(0, 4), (1, 5)], [(0, 5), (1, 6)])),
    ],
)
def test_the_card_chooses_which_samples_are_tested(
    choice: dict[str, object], parts: tuple[list[tuple[int, int]], ...]
) -> None:
    ratios = {} if "over" in choice else {"ratios": (4, 1, 3)}
    split = Split.model_validate({"history": 2, "min_history": 1, **ratios, **choice})
    samples, order = cut(TWO_USERS, split)
    targets = [
        (TWO_USERS[order[target]][0], TWO_USERS[order[target]][2] // DAY)
        for target in samples.target
    ]
    train, valid = samples.boundaries
    assert (targets[:train], targets[train:valid], targets[valid:]) == parts


@given(logs, splits, st.sampled_from(["first", "last", "random"]))
def test_one_target_per_user_and_period_leaves_training_unchanged(
    log: list[tuple[int, int, int]], split: Split, target: str
) -> None:
    users, _, _ = columns(log)
    every, order = cut(log, split)
    chosen, _ = cut(log, split.model_copy(update={"target": target}))
    assert chosen.boundaries[0] == every.boundaries[0]
    for samples in (slice(*chosen.boundaries), slice(chosen.boundaries[1], None)):
        owners = users[order][chosen.target[samples]]
        assert len(set(owners.tolist())) == len(owners)
    for first, last in (every.boundaries, (every.boundaries[1], len(every.target))):
        part = every.target[first:last]
        assert set(users[order][part]) == set(users[order][np.intersect1d(part, chosen.target)])


def test_a_user_with_one_sample_is_only_tested_by_leave_last_out() -> None:
    samples, _ = cut(
        [(0, 0, 1), (0, 1, 2)], Split.model_validate({"min_history": 1, "over": "last"})
    )
    assert (samples.boundaries, samples.target.tolist()) == ((0, 0), [1])


@pytest.mark.parametrize(
    "choice",
    [
        {"over": "last", "target": "first"},
        {"over": "last", "ratios": [1, 1, 1]},
        {"over": "user", "horizon": 3},
    ],
)
def test_a_choice_that_would_change_nothing_is_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"over|horizon"):
        Split.model_validate(choice)


def test_a_name_changes_the_split_of_a_card_and_defaults_leave_its_key() -> None:
    card = dataset_card("ml-100k")
    assert card.preparation()["split"] == {
        "history": 10,
        "min_history": 10,
        "ratios": [8, 1, 1],
        "over": "all",
    }
    changed = dataset_card("ml-100k:target=first,horizon=30")
    assert changed.preparation()["split"] == {
        **card.preparation()["split"],  # type: ignore[dict-item]
        "target": "first",
        "horizon": 30,
    }
    assert changed.title == "MovieLens-100K (target=first, horizon=30)"
    assert "test" not in changed.expected
    assert "30 days" in describe_split(changed.split)
    assert "leave-last-out" in describe_split(dataset_card("ml-100k:over=last").split)
    with pytest.raises(BenchError, match="targets"):
        dataset_card("ml-100k:targets=first")
