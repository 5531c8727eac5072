"""D3's preparation: small cases by hand, and its program (section 4.1) as a plain loop."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.config.cards import DatasetCard, Filters, Split
from bench.data import prepare as preparing
from bench.data.filters import iterate_window_starts, mask_window, to_midnight
from bench.data.prepare import filter_raw, prepare
from bench.data.prepared import Prepared
from bench.data.raw import Collector, RawData
from bench.data.split import make_samples, sort_interactions
from bench.data.titles import clean_d3_title, is_d3_title

Log = list[tuple[int, int, int]]
Made = Callable[..., Prepared]


def d3_card(core: int = 5, items: int = 10_000, **changes: Any) -> DatasetCard:
    """Return a card with D3's own settings: title rule, window, core, order, histories."""
    content: dict[str, Any] = {
        "title": "D3",
        "description": "",
        "license": "none",
        "citation": "none",
        "reader": "amazon",
        "fields": {"release": "2018"},
        "titles": {"profile": "d3"},
        "filters": {
            "min_user_interactions": core,
            "min_item_interactions": core,
            "start": date(2017, 10, 1),
            "end": date(2018, 11, 1),
            "min_items": items,
            "catalog": "shuffled",
        },
        "split": {"history": 10, "min_history": 1},
    }
    filters = {**content["filters"], **changes.pop("filters", {})}
    return DatasetCard.model_validate({**content, **changes, "filters": filters})


def raw_data(log: Log, titles: list[str]) -> RawData:
    collector = Collector()
    for item, title in enumerate(titles):
        collector.add_item(f"i{item}", title, ())
    for line, (user, item, time) in enumerate(log, start=1):
        collector.add_interaction(f"u{user}", f"i{item}", 5.0, time, line)
    return collector.finish()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Prepare a log as if a reader had read it."""

    def run(log: Log, titles: list[str], card: DatasetCard) -> Prepared:
        monkeypatch.setattr(preparing, "read", lambda *_: raw_data(log, titles))
        return prepare(card, {})

    return run


def year(number: int) -> int:
    return to_midnight(date(number, 10, 1))


# --- the whole program, written out ---------------------------------------------------------------


def plainly(
    log: Log, titles: list[str], core: int, items: int
) -> tuple[list[tuple[int, str]], set[int]]:
    """D3's loop over dicts and sets: its catalog of items and titles, and the rows that stay."""
    current, first_year = list(titles), 2017
    while True:
        current = [clean_d3_title(title) for title in current]
        gone_users: set[int] = set()
        gone_items = {item for item, title in enumerate(current) if not is_d3_title(title)}
        while True:
            rows = [
                row
                for row, (user, item, time) in enumerate(log)
                if year(first_year) <= time <= to_midnight(date(2018, 11, 1))
                and user not in gone_users
                and item not in gone_items
            ]
            by_user = Counter(log[row][0] for row in rows)
            by_item = Counter(log[row][1] for row in rows)
            if len(by_item) < items and first_year > 1996:
                break
            few_users = {user for user, num in by_user.items() if num < core}
            few_items = {item for item, num in by_item.items() if num < core}
            if not few_users and not few_items:
                order = list(dict.fromkeys(log[row][1] for row in rows))
                random.Random(42).shuffle(order)
                return [(item, current[item]) for item in order], set(rows)
            gone_users |= few_users
            gone_items |= few_items
        first_year -= 1


times = st.integers(1994, 2018).flatmap(
    lambda number: st.sampled_from([year(number) - 1, year(number), year(number) + 86_400])
)
logs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), times), max_size=40)
odd_titles = st.lists(
    st.sampled_from(["Good", '" x "', "&amp;quot;ab", "", "a", "<span id", '"' + " w" * 20 + '"']),
    min_size=4,
    max_size=4,
)


@given(logs, odd_titles, st.integers(1, 3), st.integers(0, 4))
def test_survivors_and_titles_equal_those_of_a_plain_loop(
    log: Log, titles: list[str], core: int, items: int
) -> None:
    named = [title or "(none)" for title in titles]
    raw = raw_data(log, named)
    left = filter_raw(raw, d3_card(core, items))
    expected, rows = plainly(log, named, core, items)
    assert set(np.flatnonzero(left.keep).tolist()) == rows
    assert left.num_items == len(expected)
    assert all(left.titles[item] == title for item, title in expected)


# --- window -------------------------------------------------------------------------------------


@given(st.dates(date(1996, 1, 1), date(2018, 1, 1)), st.integers(0, 400))
def test_both_bounds_of_the_window_are_inside(start: date, days: int) -> None:
    end = date.fromordinal(start.toordinal() + days)
    first, last = to_midnight(start), to_midnight(end)
    found = mask_window(np.array([first - 1, first, last, last + 1]), start, end)
    assert found.tolist() == [False, True, True, False]
    assert mask_window(np.array([first - 1, last + 1]), None, end).tolist() == [True, False]
    assert mask_window(np.array([first - 1, last + 1]), start, None).tolist() == [False, True]


def test_midnights_are_utc() -> None:
    assert to_midnight(date(1970, 1, 1)) == 0
    assert to_midnight(date(2017, 10, 1)) == 1_506_816_000


def test_the_start_moves_back_a_year_at_a_time_to_1996() -> None:
    moving = list(iterate_window_starts(Filters(start=date(2017, 10, 1), min_items=1)))
    assert moving == [date(number, 10, 1) for number in range(2017, 1995, -1)]
    assert list(iterate_window_starts(Filters(start=date(1995, 1, 1), min_items=1))) == [
        date(1995, 1, 1)
    ]
    assert list(iterate_window_starts(Filters(start=date(2017, 10, 1)))) == [date(2017, 10, 1)]
    assert list(iterate_window_starts(Filters())) == [None]


def test_the_start_moves_only_as_far_as_needed_and_says_so(made: Made) -> None:
    log = [(user, item, year(2010 + item)) for user in range(2) for item in range(8)]
    titles = [f"Title {item}" for item in range(8)]
    data = made(log, titles, d3_card(core=2, items=3))
    assert sorted(data.catalog.ids) == ["i5", "i6", "i7"]
    assert data.notes == ("The window begins on 2015-10-01, moved back from 2017-10-01.",)
    few = made(log, titles, d3_card(core=2, items=9))
    assert len(few.catalog) == 8
    assert few.notes == (
        "The window begins on 1996-10-01, moved back from 2017-10-01.",
        "8 items are left, fewer than the 9 that the card requires.",
    )
    assert made(log, titles, d3_card(core=1, items=0, filters={"start": None})).notes == ()


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"start": date(2018, 1, 2), "end": date(2018, 1, 1)}, "start is later than end"),
        ({"min_items": 5}, "requires start"),
        ({"min_items": 5, "start": date(2016, 2, 29)}, "29 February"),
    ],
)
def test_windows_that_cannot_be_are_refused(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Filters.model_validate(filters)


# --- catalog and splits -----------------------------------------------------------------------


def test_the_catalog_is_shuffled_from_the_order_of_first_appearance(made: Made) -> None:
    order = [4, 0, 3, 1, 2]
    log = [(user, item, year(2018) + user) for user in range(3) for item in order]
    data = made(log, [f"Title {item}" for item in range(6)], d3_card(core=2, items=0))
    random.Random(42).shuffle(order)
    assert data.catalog.ids == tuple(f"i{item}" for item in order)
    found = [data.catalog.ids[item] for item in data.items[:5]]
    assert found == ["i4", "i0", "i3", "i1", "i2"]
    assert data.counts["titles rejected"] == 0


def test_titles_go_before_the_core_and_repeated_reviews_count(made: Made) -> None:
    log = [(0, 0, year(2018)), (0, 0, year(2018)), (0, 1, year(2018)), (1, 1, year(2018))]
    data = made(log, ["Good", "x"], d3_card(core=2, items=0))
    assert data.catalog.titles == ("Good",)
    assert data.counts["titles rejected"] == 1
    assert data.counts["interactions"] == 2
    assert data.windows([0]).targets.tolist() == data.windows([0]).histories[0, :1].tolist() == [0]


def test_one_bad_line_removes_an_item_that_has_several() -> None:
    collector = Collector()
    for item in ("bad first", "bad last", "good"):
        markup, plain = "<span id=x>", f"Title of {item}"
        collector.add_item(item, markup if item == "bad first" else plain, ())
        collector.add_item(item, markup if item == "bad last" else plain, ())
    for time, item in enumerate(("bad first", "bad last", "good") * 5):
        collector.add_interaction("u", item, 5.0, time, time + 1)
    found = filter_raw(
        collector.finish(), d3_card(core=0, items=0, filters={"start": None, "end": None})
    )
    assert found.titles == ("", "", "Title of good")
    assert found.num_items == 1


def test_rejected_titles_leave_a_catalog_in_file_order_too(made: Made) -> None:
    card = d3_card(titles={"profile": "clean"}, filters=Filters().model_dump())
    log = [(0, item, time) for time, item in enumerate([2, 1, 0, 2])]
    data = made(log, ["Café &amp; Bar", "<b>", "Third", "Never"], card)
    assert data.catalog.ids == ("i0", "i2", "i3")
    assert data.catalog.titles == ("Café & Bar", "Third", "Never")
    assert [data.catalog.ids[item] for item in data.items] == ["i2", "i0", "i2"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.just(0), st.integers(0, 9)), max_size=60),
    st.sampled_from(["all", "user"]),
)
def test_no_sample_is_in_two_splits(log: Log, over: str) -> None:
    users = np.array([row[0] for row in log], dtype=np.int32)
    seconds = np.array([row[2] for row in log], dtype=np.int64)
    order = sort_interactions(users, seconds, np.arange(len(log)))
    users, seconds = users[order], seconds[order]
    split = Split.model_validate({"history": 3, "min_history": 1, "over": over})
    found = make_samples(users, seconds, split)
    assert len(np.unique(found.target)) == len(found.target)
    assert len(found.target) == sum(max(0, int((users == user).sum()) - 1) for user in range(5))
    parts = np.split(found.target, found.boundaries)
    assert all((np.diff(seconds[part]) >= 0).all() for part in parts)
    if over == "user":
        for user in range(5):
            own = int((users[found.target] == user).sum())
            sizes = [int((users[part] == user).sum()) for part in parts]
            assert np.cumsum(sizes).tolist() == [own * 8 // 10, own * 9 // 10, own]
            ours = np.concatenate([part[users[part] == user] for part in parts])
            assert (np.diff(ours) > 0).all()


def test_every_switch_is_part_of_what_decides_the_data() -> None:
    found = d3_card().preparation()
    assert found["titles"] == {"profile": "d3"}
    assert found["filters"] == {
        "min_user_interactions": 5,
        "min_item_interactions": 5,
        "min_rating": None,
        "start": "2017-10-01",
        "end": "2018-11-01",
        "min_items": 10_000,
        "earliest_year": 1996,
        "catalog": "shuffled",
    }
    assert found["split"] == {
        "history": 10,
        "min_history": 1,
        "ratios": [8, 1, 1],
        "over": "all",
    }
