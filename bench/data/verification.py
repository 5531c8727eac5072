"""Checks of a prepared data set: are the counts as the card expects, and does nothing leak?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.config.cards import DatasetCard
from bench.data.prepare import find_mismatches
from bench.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        check: What was checked.
        verdict: "ok"; "note" for what a reader should know; "fails" for a violation.
        text: The numbers behind it.
    """

    check: str
    verdict: Literal["ok", "note", "fails"]
    text: str


def verify(prepared: Prepared, card: DatasetCard) -> list[Finding]:
    """Check a prepared data set."""
    return [_check_counts(prepared, card), *_check_samples(prepared), *_describe(prepared)]


def _check_counts(prepared: Prepared, card: DatasetCard) -> Finding:
    check = "counts are those the card expects"
    mismatches = find_mismatches(card, prepared.counts)
    if mismatches:
        return Finding(check=check, verdict="fails", text=" ".join(mismatches))
    if not card.expected:
        return Finding(check=check, verdict="note", text="the card expects none")
    return Finding(check=check, verdict="ok", text=f"{len(card.expected)} counts compared")


def _check_samples(prepared: Prepared) -> Iterator[Finding]:
    start, target, num = prepared.start, prepared.target, len(prepared.target)
    train_end, valid_end = prepared.boundaries
    times, num_items = prepared.times[target], len(prepared.catalog)
    num_early = sum(
        np.count_nonzero(times[end:] < times[:end].max())
        for end in prepared.boundaries
        if 0 < end < num
    )
    same_user = prepared.users[start] == prepared.users[target]
    earlier = prepared.times[target - 1] <= times
    is_history = same_user & earlier & (start < target)
    items = prepared.items[target]
    num_unknown = np.count_nonzero((items < 0) | (items >= num_items))
    for check, num_bad, problem, good in (
        (
            "no sample of a later split before the last of an earlier one",
            num_early,
            "samples are earlier than the end of the previous split.",
            f"train ends at sample {train_end:,}, valid at {valid_end:,}, in order of time",
        ),
        (
            "every history is of the target's user and before the target",
            np.count_nonzero(~is_history),
            "samples have a history that is not.",
            f"{num:,} samples",
        ),
        (
            "no sample twice",
            num - len(np.unique(target)),
            "samples repeat another.",
            "every target once",
        ),
        (
            "every target is an item of the catalog, none is padding",
            num_unknown,
            "targets are not.",
            f"{num_items:,} items",
        ),
    ):
        yield Finding(
            check=check,
            verdict="fails" if num_bad else "ok",
            text=f"{num_bad:,} {problem}" if num_bad else good,
        )


def _describe(prepared: Prepared) -> Iterator[Finding]:
    titles = prepared.catalog.titles
    num_repeated = len(titles) - len(set(titles))
    yield Finding(
        check="titles are distinct",
        verdict="note" if num_repeated else "ok",
        text=f"{num_repeated:,} of {len(titles):,} items share their title with an earlier one"
        if num_repeated
        else f"{len(titles):,} titles",
    )
    train, test = (
        np.unique(prepared.users[prepared.target[list(prepared.sample_range(split))]])
        for split in ("train", "test")
    )
    yield Finding(
        check="users of the test split that also train",
        verdict="note",
        text=f"{len(np.intersect1d(train, test)):,} of {len(test):,}; "
        "the split is by time, not by user",
    )
