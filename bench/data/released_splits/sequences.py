"""Ready samples laid out as the interactions they show, for everything that expects interactions.

A row is a history and a target. Rows of one user that continue each other, as sliding windows do,
are put back together into that user's sequence. A row that continues nothing begins a sequence of
its own, and a sequence is what counts as a user here: where files name no users, every row is one,
and an interaction that several rows show stands in the data several times.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories
from bench.data.catalog import Catalog
from bench.data.categories import idle_names, tracked_categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.split import covered

NO_HISTORY = "row without a history"
UNKNOWN_HISTORY = "row with an unknown item in its history"
UNKNOWN_TARGET = "row with an unknown target"
TIMES_FALL = "row whose times fall"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One ready sample, the target last in every column.

    Attributes:
        items: Positions in the catalog; None for an item that is not in it.
        user: Source id of the user; None where the file names none.
        ratings: As many as items; None where the file has none.
        times: Seconds since 1970, UTC, as many as items; None where the file has none.
        time: Of the target alone, where the file has no others; what a sequence begins with gets
            the time of its first target, for it is not later.
    """

    items: Sequence[int | None]
    user: str | None = None
    ratings: Sequence[float] | None = None
    times: Sequence[int] | None = None
    time: int | None = None


@dataclass(frozen=True)
class _Sequence:
    user: str
    items: array[int] = field(default_factory=lambda: array("i"))
    times: array[int] = field(default_factory=lambda: array("q"))
    ratings: array[float] = field(default_factory=lambda: array("f"))


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Sequence after sequence as columns, and where each begins."""

    first: NDArray[np.int64]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]


class Sequences:
    """Gathers the rows of train, then valid, then test, and counts what cannot be used."""

    def __init__(self) -> None:
        self._sequences: list[_Sequence] = []
        self._latest: dict[str, int] = {}
        self._sample_of = array("q")
        self._place, self._length = array("q"), array("q")
        self._rows: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._begun_anew = 0
        self._named = self._rated = self._timed = True

    def add(self, row: Row, split: str) -> None:
        """Take the next row of a split, unless something in it is not to be had."""
        self._rows[split] += 1
        reason = _fault(row)
        if reason:
            self._rejected[reason] += 1
            return
        self._named &= row.user is not None
        self._rated &= row.ratings is not None
        self._timed &= row.times is not None or row.time is not None
        items = array("i", (item for item in row.items if item is not None))
        times = array("q", row.times or () if row.time is None else [row.time] * len(items))
        ratings = array("f", row.ratings or ())
        number = self._continued(row, items, times)
        if number is None:
            number = self._begin(row.user or f"{split} {self._rows[split]}")
            fresh = 0
        else:
            fresh = len(items) - 1
        sequence = self._sequences[number]
        sequence.items.extend(items[fresh:])
        sequence.times.extend(times[fresh:])
        sequence.ratings.extend(ratings[fresh:])
        self._taken[split] += 1
        self._sample_of.append(number)
        self._place.append(len(sequence.items) - 1)
        self._length.append(len(items) - 1)

    def _continued(self, row: Row, items: array[int], times: array[int]) -> int | None:
        """Return the user's latest sequence if this row's history is where it ends."""
        number = None if row.user is None else self._latest.get(row.user)
        if number is None:
            return None
        sequence, length = self._sequences[number], len(items) - 1
        same = sequence.items[-length:] == items[:-1]
        if row.time is not None:
            same = same and sequence.times[-1] <= row.time
        elif times:
            same = same and sequence.times[-length:] == times[:-1]
        return number if same else None

    def _begin(self, user: str) -> int:
        name, number = user, 1
        while name in self._latest:
            number += 1
            name = f"{user} ({number})"
        self._begun_anew += number > 1
        self._latest[name] = self._latest[user] = len(self._sequences)
        self._sequences.append(_Sequence(user=name))
        return len(self._sequences) - 1

    def finish(
        self,
        catalog: Catalog,
        choice: Categories | None,
        item_counts: Mapping[str, int],
        notes: Sequence[str] = (),
    ) -> Prepared:
        """Return all that was gathered.

        Args:
            catalog: The items that the rows speak of.
            choice: Which categories are tracked; None where the catalog says it.
            item_counts: What was rejected or mended among the items.
            notes: What else a reader of the results should know, in sentences.
        """
        table = self._table()
        start, target, ends = self._samples(table.first)
        if choice is not None:
            counted = covered(start[: ends[0]], target[: ends[0]], len(table.items))
            tracked = tracked_categories(catalog.categories, table.items[counted], choice)
            catalog = replace(catalog, tracked=tracked)
        idle = idle_names(catalog.categories, choice or Categories())
        return Prepared(
            catalog=catalog,
            user_ids=tuple(sequence.user for sequence in self._sequences),
            users=table.users,
            items=table.items,
            ratings=table.ratings,
            times=table.times,
            start=start,
            target=target,
            boundaries=ends,
            history=max(self._length, default=0),
            counts={
                "lines": self._rows.total(),
                **{f"rejected: {reason}": num for reason, num in sorted(self._rejected.items())},
                **item_counts,
                "users": len(self._sequences),
                "sequences begun anew": self._begun_anew,
                "items": len(catalog),
                "titles": len(set(catalog.titles)),
                "items with interactions": len(np.unique(table.items)),
                "interactions": len(table.items),
                "samples": len(target),
                **{split: self._taken[split] for split in SPLITS},
            },
            notes=(
                *self._notes(),
                *notes,
                *(
                    f"The card leaves out the category {name!r}, which no item has."
                    for name in idle
                ),
            ),
        )

    def _table(self) -> _Table:
        lengths = np.array([len(sequence.items) for sequence in self._sequences], dtype=np.int64)
        total = int(lengths.sum())
        items, times, ratings = array("i"), array("q"), array("f")
        for sequence in self._sequences:
            items.extend(sequence.items)
            times.extend(sequence.times)
            ratings.extend(sequence.ratings)
        return _Table(
            first=np.cumsum(lengths) - lengths,
            users=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            items=np.array(items, dtype=np.int32),
            ratings=np.array(ratings, dtype=np.float32)
            if self._rated
            else np.full(total, np.nan, dtype=np.float32),
            # Whatever sorts by time must find the order of the files again.
            times=np.array(times, dtype=np.int64) if self._timed else np.arange(total),
        )

    def _samples(
        self, first: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
        target = first[np.array(self._sample_of, dtype=np.int64)]
        target = target + np.array(self._place, dtype=np.int64)
        train, valid = self._taken["train"], self._taken["valid"]
        return target - np.array(self._length, dtype=np.int64), target, (train, train + valid)

    def _notes(self) -> list[str]:
        notes = ["The samples and their splits are the files' own."]
        if not self._named:
            notes.append(
                "The files name no users, so every row is a user of its own, and an interaction "
                "counts as often as rows show it."
            )
        if not self._timed:
            notes.append("The files have no times; in their place stands the order of the files.")
        if self._begun_anew:
            notes.append(
                f"{self._begun_anew:,} rows do not continue the rows of their user before them; "
                "each begins a further sequence, which counts as a user."
            )
        rejected = self._rejected.total()
        if rejected:
            notes.append(f"{rejected:,} of the files' {self._rows.total():,} rows are left out.")
        return notes


def _fault(row: Row) -> str:
    """Say why a row cannot be used; empty where it can."""
    *history, target = row.items
    if not history:
        return NO_HISTORY
    if None in history:
        return UNKNOWN_HISTORY
    if target is None:
        return UNKNOWN_TARGET
    times = row.times or ()
    falls = any(later < earlier for earlier, later in pairwise(times))
    return TIMES_FALL if falls else ""
