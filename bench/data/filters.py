"""Filters of L interactions: time window, minimum rating, k-core of users and items.

Users and items are indices, times are seconds since 1970, UTC, and a missing rating is NaN; all of
them, and the masks that mark the remaining interactions, have the shape (L,).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Filters
from bench.errors import BenchError

Mask = NDArray[np.bool_]


def filter_interactions(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    filters: Filters,
    *,
    keep: Mask | None = None,
) -> Mask:
    """Filter by rating, then by core, starting from `keep` or from all interactions.

    Raises:
        BenchError: A minimum rating is required, but the data have no ratings.
    """
    keep = np.ones(len(users), dtype=bool) if keep is None else keep
    if filters.min_rating is not None:
        if len(ratings) and np.isnan(ratings).all():
            raise BenchError(
                "The card sets a minimum rating, but the data have no ratings.",
                "Remove min_rating from [filters], or name the rating column in [fields].",
            )
        keep = keep & (ratings >= filters.min_rating)
    min_user, min_item = filters.min_user_interactions, filters.min_item_interactions
    return find_core(users, items, keep, min_user=min_user, min_item=min_item)


def iterate_window_starts(filters: Filters) -> Iterator[date | None]:
    """Yield candidate first days of the window: the card's, then one year earlier each time.

    D3 goes back until 10,000 items are left, but not before 1996; the caller stops as soon as
    `min_items` are left.
    """
    yield filters.start
    if filters.start is not None and filters.min_items:
        for year in range(filters.start.year - 1, filters.earliest_year - 1, -1):
            yield filters.start.replace(year=year)


def mask_window(times: NDArray[np.int64], start: date | None, end: date | None) -> Mask:
    """Return which times are between two midnights, UTC, both included (D3); None is no bound."""
    mask = np.ones(len(times), dtype=bool)
    if start is not None:
        mask &= times >= to_midnight(start)
    if end is not None:
        mask &= times <= to_midnight(end)
    return mask


def to_midnight(day: date) -> int:
    """Return the first second of a day in UTC, as seconds since 1970.

    Example:
        >>> to_midnight(date(2018, 11, 1))
        1541030400
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def find_core(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    keep: Mask,
    *,
    min_user: int,
    min_item: int,
) -> Mask:
    """Return the largest subset of `keep` in which every user and item has enough interactions.

    Users and items are tested on the same counts until nothing is removed (D3's loop). The largest
    such subset is unique, so the order of removal does not matter.
    """
    keep = keep.copy()
    while keep.any():
        by_user = np.bincount(users[keep], minlength=int(users.max()) + 1)
        by_item = np.bincount(items[keep], minlength=int(items.max()) + 1)
        enough = (by_user[users] >= min_user) & (by_item[items] >= min_item)
        if enough[keep].all():
            break
        keep &= enough
    return keep
