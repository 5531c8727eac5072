"""Checks of a prepared data set: is it what the card expects, and does nothing leak?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.config.cards import DatasetCard
from bench.data.prepare import mismatches
from bench.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was checked.
        verdict: "ok"; "note" for what a reader should know; "fails" for what must not be.
        text: The numbers behind it.
    """

    check: str
    verdict: Literal["ok", "note", "fails"]
    text: str


def verify(prepared: Prepared, card: DatasetCard) -> list[Finding]:
    """Check a prepared data set; the order of the findings is that of the checks."""
    checks: list[Callable[[], Finding]] = [
        lambda: _expected(prepared, card),
        lambda: _order_in_time(prepared),
        lambda: _histories_come_first(prepared),
        lambda: _no_sample_twice(prepared),
        lambda: _targets_are_items(prepared),
        lambda: _titles(prepared),
        lambda: _users_in_several_splits(prepared),
    ]
    return [check() for check in checks]


def _finding(check: str, bad: int, text: str, good: str) -> Finding:
    if bad:
        return Finding(check=check, verdict="fails", text=f"{bad:,} {text}")
    return Finding(check=check, verdict="ok", text=good)


def _expected(prepared: Prepared, card: DatasetCard) -> Finding:
    check = "counts are those the card expects"
    differing = mismatches(card, prepared.counts)
    if differing:
        return Finding(check=check, verdict="fails", text=" ".join(differing))
    text = f"{len(card.expected)} counts compared" if card.expected else "the card expects none"
    return Finding(check=check, verdict="ok" if card.expected else "note", text=text)


def _order_in_time(prepared: Prepared) -> Finding:
    times = prepared.times[prepared.target]
    first, second = prepared.boundaries
    bad = 0
    for boundary in (first, second):
        if 0 < boundary < len(times):
            bad += int(np.count_nonzero(times[boundary:] < times[:boundary].max()))
    return _finding(
        "no sample of a later split before the last of an earlier one",
        bad,
        "samples lie before the end of the split before theirs.",
        f"train ends at sample {first:,}, valid at {second:,}, in order of time",
    )


def _histories_come_first(prepared: Prepared) -> Finding:
    same_user = prepared.users[prepared.start] == prepared.users[prepared.target]
    earlier = prepared.times[prepared.target - 1] <= prepared.times[prepared.target]
    before = prepared.start < prepared.target
    bad = int(np.count_nonzero(~(same_user & earlier & before)))
    return _finding(
        "every history is of the target's user and lies before the target",
        bad,
        "samples have a history that does not.",
        f"{len(prepared.target):,} samples",
    )


def _no_sample_twice(prepared: Prepared) -> Finding:
    bad = len(prepared.target) - len(np.unique(prepared.target))
    return _finding("no sample twice", bad, "samples repeat another.", "every target once")


def _targets_are_items(prepared: Prepared) -> Finding:
    items = prepared.items[prepared.target]
    bad = int(np.count_nonzero((items < 0) | (items >= len(prepared.catalog))))
    return _finding(
        "every target is an item of the catalog, none is padding",
        bad,
        "targets are not.",
        f"{len(prepared.catalog):,} items",
    )


def _titles(prepared: Prepared) -> Finding:
    titles = prepared.catalog.titles
    repeated = len(titles) - len(set(titles))
    return Finding(
        check="titles are distinct",
        verdict="note" if repeated else "ok",
        text=f"{repeated:,} of {len(titles):,} items share their title with an earlier one"
        if repeated
        else f"{len(titles):,} titles",
    )


def _users_in_several_splits(prepared: Prepared) -> Finding:
    train, test = (
        set(prepared.users[prepared.target[list(prepared.sample_range(split))]].tolist())
        for split in ("train", "test")
    )
    return Finding(
        check="users of the test split that also train",
        verdict="note",
        text=f"{len(train & test):,} of {len(test):,}; the split is by time, not by user",
    )
