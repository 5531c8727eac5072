"""Strata of test cases: properties of a case that decide how hard it is, known from the data alone.

All are relative to the whole training split, so that they do not depend on a trial's rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.prepared import Prepared

STRATA: dict[str, tuple[str, ...]] = {
    "ties": ("tied", "later"),
    "popularity": ("head", "middle", "tail", "cold"),
    "transition": ("seen", "unseen"),
    "history": ("1-4 items", "5-9 items", "10+ items"),
    "activity": ("low", "middle", "high"),
}
"""Names of strata by what divides the cases."""

DEFINITIONS = {
    "ties": "whether the target has the timestamp of the history's last item",
    "popularity": "whether the target is among the most popular items that make up the first, "
    "second or last third of the training interactions, or in none of them (cold)",
    "transition": "whether some user went from the last item directly to the target in training",
    "history": "number of items in the history",
    "activity": "the user's number of interactions before the target, in thirds of the test cases",
}


class _Training(NamedTuple):
    """What the training split says: third of each item (3 for none), and transitions as codes."""

    thirds: NDArray[np.int64]
    transitions: NDArray[np.int64]


@lru_cache(maxsize=1)
def _read_training(prepared: Prepared) -> _Training:
    covered = prepared.train_interactions()
    items, users = prepared.items[covered].astype(np.int64), prepared.users[covered]
    counts = np.bincount(items[items >= 0], minlength=len(prepared.catalog))
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    thirds = np.empty(len(counts), dtype=np.int64)
    thirds[order] = np.where(counts[order] > 0, 3 * before // max(1, counts.sum()), 3)
    follows = (np.diff(covered) == 1) & (users[1:] == users[:-1])
    transitions = items[:-1][follows] * len(counts) + items[1:][follows]
    return _Training(thirds, np.unique(transitions))


def label_cases(prepared: Prepared, samples: NDArray[np.int64]) -> dict[str, list[str]]:
    """Return the stratum of each test sample, shape (C,), by what divides them, see `STRATA`."""
    training = _read_training(prepared)
    start, target = prepared.start[samples], prepared.target[samples]
    items = prepared.items.astype(np.int64)
    transition = items[target - 1] * len(prepared.catalog) + items[target]
    position = np.arange(len(prepared.users)) - np.searchsorted(prepared.users, prepared.users)
    test = np.array(prepared.sample_range("test"))
    limits = np.quantile(position[prepared.target[test]], [1 / 3, 2 / 3])
    codes = {
        "ties": prepared.times[target] > prepared.times[target - 1],
        "popularity": np.where(items[target] < 0, 3, training.thirds[items[target]]),
        "transition": ~np.isin(transition, training.transitions),
        "history": np.digitize(target - start, [5, 10]),
        "activity": np.searchsorted(limits, position[target]),
    }
    return {name: [STRATA[name][int(code)] for code in values] for name, values in codes.items()}


def tied_share(prepared: Prepared, split: str = "test") -> float:
    """Return the share of a split's targets with the timestamp of the history's last item."""
    target = prepared.target[list(prepared.sample_range(split))]
    is_tied = prepared.times[target] == prepared.times[target - 1]
    return float(np.mean(is_tied)) if len(target) else 0.0
