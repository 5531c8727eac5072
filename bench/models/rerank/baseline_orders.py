"""Orders of a list that need no training: as given, by popularity, the best there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.data.prepared_lists import Lists
from bench.errors import unknown

Scores = NDArray[np.float64]


def given(lists: Lists, rows: NDArray[np.int64]) -> Scores:
    """Keep the order in which the list was shuffled: a random one."""
    return np.zeros(lists.items[rows].shape)


def popularity(lists: Lists, rows: NDArray[np.int64]) -> Scores:
    """Count how often users that are not for testing interacted with an item."""
    return lists.popularity[lists.items[rows]].astype(np.float64)


def oracle(lists: Lists, rows: NDArray[np.int64]) -> Scores:
    """Put the positives first; what this reaches is the most that any order can."""
    return lists.labels[rows].astype(np.float64)


ORDERS: Mapping[str, Callable[[Lists, NDArray[np.int64]], Scores]] = {
    "given": given,
    "popularity": popularity,
    "oracle": oracle,
}


def scores_by(name: str, lists: Lists, rows: NDArray[np.int64]) -> Scores:
    """Score some lists by one of `ORDERS`, shape (N, L).

    Raises:
        BenchError: There is no such order.
    """
    if name not in ORDERS:
        raise unknown("order", name, ORDERS)
    return ORDERS[name](lists, rows)
