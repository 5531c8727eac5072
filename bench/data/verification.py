"""Checks of a prepared data set: are the counts as the card expects, and does nothing leak?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.config.cards import DatasetCard
from bench.data.case_strata import tied_share
from bench.data.prepare import find_mismatches
from bench.data.prepared import Prepared
from bench.data.split import describe_split

IN_TIME = "no sample of a later split before the last of an earlier one"


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """The result of one check, and the numbers behind it.

    "note" is for what a reader should know, "fails" for a violation.
    """

    check: str
    verdict: Literal["ok", "note", "fails"]
    text: str


def verify(prepared: Prepared, card: DatasetCard) -> list[DataCheck]:
    """Check a prepared data set."""
    mismatches = find_mismatches(card, prepared.counts)
    titles = prepared.catalog.titles
    num_untitled = sum(
        title == id_ for title, id_ in zip(titles, prepared.catalog.ids, strict=True)
    )
    num_repeated = len(titles) - len(set(titles))
    train, test = (
        np.unique(prepared.users[prepared.target[list(prepared.sample_range(split))]])
        for split in ("train", "test")
    )
    num_shared = len(np.intersect1d(train, test))
    share_tied = tied_share(prepared)
    return [
        DataCheck(
            check="counts are those the card expects",
            verdict="fails" if mismatches else "ok" if card.expected else "note",
            text=" ".join(mismatches) or f"{len(card.expected) or 'no'} counts compared",
        ),
        *_check_samples(prepared, in_time=card.split.over == "all"),
        DataCheck(
            check="titles are distinct",
            verdict="note" if num_repeated else "ok",
            text=f"{num_repeated:,} of {len(titles):,} items share their title with an earlier one",
        ),
        DataCheck(
            check="titles are not ids",
            verdict="note" if num_untitled else "ok",
            text=f"{num_untitled:,} of {len(titles):,} items are called by their ids in prompts",
        ),
        DataCheck(
            check="test targets with the timestamp of the last history item",
            verdict="note" if share_tied else "ok",
            text=f"{share_tied:.1%} of {prepared.num('test'):,} (share "
            f"{share_tied:.2f}); ties are in order of the raw file's lines, so that part "
            "of the order is not time",
        ),
        DataCheck(
            check="users of the test split that also train",
            verdict="note",
            text=f"{num_shared:,} of {len(test):,}; {describe_split(card.split)}",
        ),
    ]


def _check_samples(prepared: Prepared, *, in_time: bool) -> Iterator[DataCheck]:
    start, target, num = prepared.start, prepared.target, len(prepared.target)
    times, items, num_items = prepared.times[target], prepared.items[target], len(prepared.catalog)
    same_user = prepared.users[start] == prepared.users[target]
    earlier = prepared.times[target - 1] <= times
    ends = [end for end in prepared.boundaries if 0 < end < num]
    checks = {
        IN_TIME: sum(np.count_nonzero(times[end:] < times[:end].max()) for end in ends),
        "every history is of the target's user and before the target": np.count_nonzero(
            ~(same_user & earlier & (start < target))
        ),
        "no sample twice": num - len(np.unique(target)),
        "every target is an item of the catalog, none is padding": np.count_nonzero(
            (items < 0) | (items >= num_items)
        ),
    }
    for check, num_bad in checks.items():
        verdict: Literal["ok", "note", "fails"] = "fails" if num_bad else "ok"
        if num_bad and check == IN_TIME and not in_time:
            verdict = "note"  # the card says that the times of the splits overlap
        text = f"{num_bad:,} of {num:,} samples violate this" if num_bad else f"{num:,} samples"
        yield DataCheck(check=check, verdict=verdict, text=text)
