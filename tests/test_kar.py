"""KAR's preparation: its program as a plain loop, and worked examples."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import kar
from bench.data.raw import RawData
from bench.errors import BenchError

Log = list[tuple[int, int, float, int]]
RULES = kar.Rules(cap=30, positive_above=3)


def as_raw(log: Log) -> RawData:
    table = np.array(log, dtype=np.float64).reshape(-1, 4)
    return RawData(
        user_ids=(),
        item_ids=(),
        titles=(),
        categories=(),
        users=table[:, 0].astype(np.int32),
        items=table[:, 1].astype(np.int32),
        ratings=table[:, 2].astype(np.float32),
        times=table[:, 3].astype(np.int64),
        lines=np.arange(len(log)),
        num_lines=len(log),
    )


def sequences(log: Log, rules: kar.Rules) -> kar.UserSequences:
    return kar.build_sequences(as_raw(log), rules)


def user_items(data: kar.UserSequences, index: int) -> list[int]:
    """Return a user's items, as source positions."""
    numbers = data.sequence[data.ends[index] : data.ends[index + 1]]
    return [int(item) for item in data.items[numbers]]


# --- the whole program, written out ---------------------------------------------------------------


def build_plainly(log: Log, rules: kar.Rules) -> list[tuple[int, int, list[int], list[int]]]:
    """KAR's program over dicts and lists: user, index, items and labels of each list."""
    rows_left = list(log)
    while True:
        by_user, by_item = (
            Counter(row[0] for row in rows_left),
            Counter(row[1] for row in rows_left),
        )
        remaining = [
            row
            for row in rows_left
            if by_user[row[0]] >= rules.min_user and by_item[row[1]] >= rules.min_item
        ]
        if len(remaining) == len(rows_left):
            break
        rows_left = remaining
    histories: dict[int, list[tuple[int, int, int, int]]] = {}
    for row in rows_left:
        histories.setdefault(row[0], []).append(row)
    rng = random.Random(1234)
    users = list(histories)
    rng.shuffle(users)
    split = list(users)
    rng.shuffle(split)
    rng = random.Random(12345)
    pool = sorted({row[1] for row in rows_left})
    made = []
    for user in split:
        rows = sorted(histories[user], key=lambda row: row[3] // (86_400 if rules.by_day else 1))
        index = min(-(-len(rows) // 2), rules.cap)
        while index < len(rows):
            block = rows[index : index + 4]
            pairs = [(item, int(stars > rules.positive_above)) for _, item, stars, _ in block]
            pairs += [(item, 0) for item in rng.sample(pool, 10 - len(pairs))]
            rng.shuffle(pairs)
            made.append((user, index, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
            index += 4
    return made


rows = st.tuples(
    st.integers(0, 5),
    st.integers(0, 14),
    st.integers(1, 5),
    st.sampled_from([0, 1, 86_399, 86_400, 172_800]),
)
all_rules = st.builds(
    kar.Rules,
    cap=st.integers(1, 5),
    positive_above=st.sampled_from([3.0, 4.0]),
    min_user=st.integers(0, 3),
    min_item=st.integers(0, 2),
    by_day=st.booleans(),
)


@given(st.lists(rows, min_size=30, max_size=90), all_rules)
def test_lists_equal_those_of_a_plain_loop(log: Log, rules: kar.Rules) -> None:
    data = sequences(log, rules)
    if len(data.pool) < 10:
        with pytest.raises(BenchError, match="cannot fill lists of 10"):
            kar.build_lists(data, rules)
        return
    lists = kar.build_lists(data, rules)
    assert [
        (int(data.users[user]), int(first), data.items[items].tolist(), labels.tolist())
        for user, first, items, labels in zip(
            lists.users, lists.first, lists.items, lists.labels, strict=True
        )
    ] == build_plainly(log, rules)


@given(st.lists(rows, min_size=30, max_size=90), all_rules)
def test_blocks_take_each_later_interaction_once(log: Log, rules: kar.Rules) -> None:
    data = sequences(log, rules)
    if len(data.pool) < 10:
        return
    lists = kar.build_lists(data, rules)
    assert not lists.labels[~lists.real].any()
    for index in range(len(data.users)):
        is_users = lists.users == index
        assert is_users.sum() == -(-(len(user_items(data, index)) - data.starts[index]) // 4)
        real_items = data.items[lists.items[is_users]][lists.real[is_users]].tolist()
        assert sorted(real_items) == sorted(user_items(data, index)[data.starts[index] :])
    train = set(data.train_users.tolist())
    assert len(train) == int(0.9 * len(data.users))
    assert train.isdisjoint(data.test_users.tolist())
    is_train = [user in train for user in lists.users]
    assert is_train == sorted(is_train, reverse=True)


# --- worked examples ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "cap", "start", "num_lists", "last"),
    [
        (1, 30, 1, 0, 0),
        (5, 30, 3, 1, 2),
        (20, 30, 10, 3, 2),
        (21, 30, 11, 3, 2),
        (58, 30, 29, 8, 1),
        (58, 15, 15, 11, 3),
        (60, 30, 30, 8, 2),
        (60, 15, 15, 12, 1),
        (100, 30, 30, 18, 2),
        (100, 15, 15, 22, 1),
    ],
)
def test_how_many_lists_a_user_gives(
    length: int, cap: int, start: int, num_lists: int, last: int
) -> None:
    """The table of section 3.4 of the re-ranking notes; another user fills the pool."""
    rules = kar.Rules(cap=cap, positive_above=3)
    log = [(0, time % 12, 5, time) for time in range(length)]
    data = sequences([*log, *((1, item, 5, 0) for item in range(12))], rules)
    index = data.users.tolist().index(0)
    lists = kar.build_lists(data, rules)
    sizes = lists.real[lists.users == index].sum(axis=1).tolist()
    assert data.starts[index] == start
    assert len(sizes) == num_lists
    assert sizes[-1:] == ([last] if num_lists else [])


def test_within_a_day_the_order_of_the_file_stays() -> None:
    log = [(0, 0, 5, 86_400), (0, 1, 5, 86_399), (0, 2, 5, 5), (0, 3, 5, 0), (0, 4, 5, 90_000)]
    by_day = sequences(log, kar.Rules(cap=30, positive_above=3, by_day=True))
    assert user_items(by_day, 0) == [1, 2, 3, 0, 4]
    by_second = sequences(log, RULES)
    assert user_items(by_second, 0) == [3, 2, 1, 0, 4]


def test_the_pool_is_in_order_of_the_item_file() -> None:
    items = [5, 2, 7, 0, 3]
    data = sequences([(0, item, 5, time) for time, item in enumerate(items)], RULES)
    assert user_items(data, 0) == items
    assert data.items[data.pool].tolist() == sorted(items)


def test_ratings_of_nothing_go_and_missing_ones_are_refused() -> None:
    rules = RULES
    assert user_items(sequences([(0, 0, 0, 0), (0, 1, 1, 1)], rules), 0) == [1]
    with pytest.raises(BenchError, match="need a rating for every interaction"):
        sequences([(0, 0, math.nan, 0)], rules)
