"""Filters of interactions: time window, minimum rating, k-core of users and items."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Filters
from bench.errors import BenchError


def filter_interactions(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    filters: Filters,
    *,
    keep: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Filter interactions by rating, then by core.

    Args:
        users: User indices, shape (L,).
        items: Item indices, shape (L,).
        ratings: Ratings, shape (L,), NaN where there is none.
        filters: The card's filters.
        keep: Interactions to start from, shape (L,); all by default.

    Returns:
        True for the remaining interactions, shape (L,).

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
    return find_core(
        users,
        items,
        keep,
        min_user=filters.min_user_interactions,
        min_item=filters.min_item_interactions,
    )


def iterate_window_starts(filters: Filters) -> Iterator[date | None]:
    """Yield candidate first days of the window: the card's, then one year earlier each time.

    D3 goes back until 10,000 items are left, but not before 1996; the caller stops as soon as
    `min_items` are left.
    """
    yield filters.start
    if filters.start is not None and filters.min_items:
        for year in range(filters.start.year - 1, filters.earliest_year - 1, -1):
            yield filters.start.replace(year=year)


def mask_window(
    times: NDArray[np.int64], start: date | None, end: date | None
) -> NDArray[np.bool_]:
    """Return which interactions are between two midnights, UTC, both included (D3).

    Args:
        times: Seconds since 1970, UTC, shape (L,).
        start: Day whose first second is the first inside; None for no bound.
        end: Day whose first second is the last inside; None for no bound.

    Returns:
        True inside the window, shape (L,).
    """
    inside = np.ones(len(times), dtype=bool)
    if start is not None:
        inside &= times >= to_midnight(start)
    if end is not None:
        inside &= times <= to_midnight(end)
    return inside


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
    keep: NDArray[np.bool_],
    *,
    min_user: int,
    min_item: int,
) -> NDArray[np.bool_]:
    """Return the largest subset of interactions in which both minima hold.

    Users and items are tested on the same counts until nothing is removed (D3's loop). The largest
    such subset is unique, so the order of removal does not matter.

    Args:
        users: User indices, shape (L,).
        items: Item indices, shape (L,).
        keep: Interactions to start from, shape (L,).
        min_user: Minimum number of interactions of a user.
        min_item: Minimum number of interactions of an item.

    Returns:
        True for the remaining interactions, shape (L,).
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
