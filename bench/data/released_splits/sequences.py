"""Ready samples converted to interactions, for everything that expects interactions.

A row is a history and a target. Rows of one user that continue each other, as sliding windows do,
are joined into that user's sequence. A row that continues nothing starts another sequence, and
every sequence counts as a user: where files name no users, each row is one, and an interaction that
several rows contain is in the data several times.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared, complete, describe_unused_names

NO_HISTORY = "row without a history"
UNKNOWN_HISTORY = "row with an unknown item in its history"
UNKNOWN_TARGET = "row with an unknown target"
TIMES_FALL = "row whose times fall"

ITEMS, TIMES, RATINGS = range(3)


class SequenceBuilder:
    """Gathers the rows of train, then valid, then test, and counts what cannot be used."""

    def __init__(self) -> None:
        self._user_ids: list[str] = []
        self._sequences: list[tuple[array[int], array[int], array[float]]] = []
        self._latest: dict[str, int] = {}
        # Of each sample: number of its sequence, index of its target in it, length of its history.
        self._sequence, self._target, self._length = array("q"), array("q"), array("q")
        self._num_rows: Counter[str] = Counter()
        self._num_samples: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._num_restarted = 0
        self._has_users = self._has_ratings = self._has_times = True

    def add(
        self,
        split: str,
        items: Sequence[int | None],
        *,
        user: str | None = None,
        ratings: Sequence[float] | None = None,
        times: Sequence[int] | None = None,
        time: int | None = None,
    ) -> None:
        """Add the next row of a split, unless it cannot be used.

        Args:
            split: "train", "valid" or "test".
            items: Catalog indices of the history and the target; None for an unknown item.
            user: Source id of the user, if the file names one.
            ratings: One per item, if the file has ratings.
            times: Seconds since 1970, UTC, one per item, if the file has times.
            time: That of the target alone, if the file has no others; items that start a sequence
                get the time of its first target.
        """
        self._num_rows[split] += 1
        reason = _rejection_reason(items, times or ())
        if reason:
            self._rejected[reason] += 1
            return
        self._has_users &= user is not None
        self._has_ratings &= ratings is not None
        self._has_times &= times is not None or time is not None
        known_items = array("i", (item for item in items if item is not None))
        known_times = array("q", times or () if time is None else [time] * len(items))
        length = len(items) - 1
        number = self._latest.get(user or "")
        if number is not None and self._continues(number, known_items, known_times, time):
            num_known = length
        else:
            number = self._start(user or f"{split} {self._num_rows[split]}")
            num_known = 0
        all_items, all_times, all_ratings = self._sequences[number]
        all_items.extend(known_items[num_known:])
        all_times.extend(known_times[num_known:])
        all_ratings.extend(array("f", ratings or ())[num_known:])
        self._num_samples[split] += 1
        self._sequence.append(number)
        self._target.append(len(all_items) - 1)
        self._length.append(length)

    def _continues(
        self, number: int, items: array[int], times: array[int], time: int | None
    ) -> bool:
        """Whether a row's history is the end of a sequence."""
        length = len(items) - 1
        sequence_items, sequence_times, _ = self._sequences[number]
        if sequence_items[-length:] != items[:-1]:
            return False
        if time is not None:
            return sequence_times[-1] <= time
        return not times or sequence_times[-length:] == times[:-1]

    def _start(self, user: str) -> int:
        name, copy = user, 1
        while name in self._latest:
            copy += 1
            name = f"{user} ({copy})"
        self._num_restarted += copy > 1
        self._latest[name] = self._latest[user] = len(self._sequences)
        self._user_ids.append(name)
        self._sequences.append((array("i"), array("q"), array("f")))
        return len(self._sequences) - 1

    def finish(
        self,
        catalog: Catalog,
        item_counts: Mapping[str, int],
        choice: Categories | None,
        notes: Sequence[str] = (),
    ) -> Prepared:
        """Return the samples as prepared data, with the counts of the items and further notes.

        `choice` says which categories are tracked; None where the catalog says it.
        """
        lengths = np.array([len(items) for items, _, _ in self._sequences], dtype=np.int64)
        first = (np.cumsum(lengths) - lengths)[np.array(self._sequence, dtype=np.int64)]
        target = first + np.array(self._target, dtype=np.int64)
        num_train, num_valid = self._num_samples["train"], self._num_samples["valid"]
        total = int(lengths.sum())
        prepared = Prepared(
            catalog=catalog,
            user_ids=tuple(self._user_ids),
            users=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            items=self._column(ITEMS, np.int32),
            ratings=self._column(RATINGS, np.float32)
            if self._has_ratings
            else np.full(total, np.nan, dtype=np.float32),
            # Sorting by time must keep the order of the files.
            times=self._column(TIMES, np.int64) if self._has_times else np.arange(total),
            start=target - np.array(self._length, dtype=np.int64),
            target=target,
            boundaries=(num_train, num_train + num_valid),
            history=max(self._length, default=0),
        )
        counts = {
            "lines": self._num_rows.total(),
            **{f"rejected: {reason}": num for reason, num in sorted(self._rejected.items())},
            **item_counts,
            "sequences restarted": self._num_restarted,
        }
        unused = describe_unused_names(catalog.categories, choice or Categories())
        return complete(prepared, choice, counts, (*self._notes(), *notes, *unused))

    def _column(self, index: int, dtype: type[Any]) -> NDArray[Any]:
        values = chain.from_iterable(sequence[index] for sequence in self._sequences)
        return np.fromiter(values, dtype=dtype)

    def _notes(self) -> list[str]:
        notes = ["The samples and their splits are the files' own."]
        if not self._has_users:
            notes.append(
                "The files name no users, so every row counts as a user, and an interaction counts "
                "once per row that contains it."
            )
        if not self._has_times:
            notes.append("The files have no times; the order of the files is used instead.")
        if self._num_restarted:
            notes.append(
                f"{self._num_restarted:,} rows do not continue the previous row of their user; "
                "each starts another sequence, which counts as a user."
            )
        if rejected := self._rejected.total():
            notes.append(
                f"{rejected:,} of the files' {self._num_rows.total():,} rows are left out."
            )
        return notes


def _rejection_reason(items: Sequence[int | None], times: Sequence[int]) -> str:
    """Return why a row cannot be used; empty where it can."""
    *history, target = items
    if not history:
        return NO_HISTORY
    if None in history:
        return UNKNOWN_HISTORY
    if target is None:
        return UNKNOWN_TARGET
    return TIMES_FALL if any(later < earlier for earlier, later in pairwise(times)) else ""
