"""Which interactions stay: in a window of time, by rating, then by a core of users and items."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Filters
from bench.errors import BenchError


def kept_interactions(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    filters: Filters,
    *,
    keep: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Tell which interactions stay, by rating and core.

    Args:
        users: User positions, shape (L,).
        items: Item positions, shape (L,).
        ratings: Ratings, shape (L,), NaN where there is none.
        filters: The card's filters; `min_rating` comes before the core.
        keep: Where to begin, shape (L,); all by default.

    Returns:
        True for what stays, shape (L,).

    Raises:
        BenchError: Where a minimum rating is asked of data without ratings.
    """
    keep = np.ones(len(users), dtype=bool) if keep is None else keep
    if filters.min_rating is not None:
        if len(ratings) and np.isnan(ratings).all():
            raise BenchError(
                "The card asks for a minimum rating, but the data have no ratings.",
                "Remove min_rating from [filters], or name the rating column in [fields].",
            )
        keep = keep & (ratings >= filters.min_rating)
    return core(
        users,
        items,
        keep,
        min_user=filters.min_user_interactions,
        min_item=filters.min_item_interactions,
    )


def window_starts(filters: Filters) -> Iterator[date | None]:
    """Yield where the window may begin: the card's day, then as many years before as it allows.

    D3 goes back a year at a time until 10,000 items are left, but not behind 1996; the caller stops
    as soon as `min_items` are left.
    """
    yield filters.start
    if filters.start is not None and filters.min_items:
        for year in range(filters.start.year - 1, filters.earliest_year - 1, -1):
            yield filters.start.replace(year=year)


def in_window(times: NDArray[np.int64], start: date | None, end: date | None) -> NDArray[np.bool_]:
    """Tell which interactions lie between two midnights, UTC, both of them included (D3).

    Args:
        times: Seconds since 1970, UTC, shape (L,).
        start: Day whose first second is the first inside; None for no bound.
        end: Day whose first second is the last inside; None for no bound.

    Returns:
        True inside, shape (L,).
    """
    inside = np.ones(len(times), dtype=bool)
    if start is not None:
        inside &= times >= midnight(start)
    if end is not None:
        inside &= times <= midnight(end)
    return inside


def midnight(day: date) -> int:
    """Return the first second of a day in UTC, as seconds since 1970.

    Example:
        >>> midnight(date(2018, 11, 1))
        1541030400
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def core(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    keep: NDArray[np.bool_],
    *,
    min_user: int,
    min_item: int,
) -> NDArray[np.bool_]:
    """Shrink a set of interactions to the largest one in which both minima hold.

    Users and items are tested on the same counts and the test is repeated until nothing goes
    (D3's loop); the largest such set is unique, so the order of removal does not matter.

    Args:
        users: User positions, shape (L,).
        items: Item positions, shape (L,).
        keep: Where to begin, shape (L,).
        min_user: Least interactions of a user.
        min_item: Least interactions of an item.

    Returns:
        True for what stays, shape (L,).
    """
    keep = keep.copy()
    num = int(keep.sum())
    while num:
        by_user = np.bincount(users[keep], minlength=int(users.max()) + 1)
        by_item = np.bincount(items[keep], minlength=int(items.max()) + 1)
        keep &= (by_user[users] >= min_user) & (by_item[items] >= min_item)
        left = int(keep.sum())
        if left == num:
            break
        num = left
    return keep
