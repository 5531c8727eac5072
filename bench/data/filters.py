"""Which interactions stay: by rating, then by a core of users and items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.cards import Filters
from bench.errors import BenchError


def kept_interactions(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    filters: Filters,
) -> NDArray[np.bool_]:
    """Tell which interactions stay.

    Args:
        users: User positions, shape (L,).
        items: Item positions, shape (L,).
        ratings: Ratings, shape (L,), NaN where there is none.
        filters: The card's filters; `min_rating` comes before the core.

    Returns:
        True for what stays, shape (L,).

    Raises:
        BenchError: Where a minimum rating is asked of data without ratings.
    """
    keep = np.ones(len(users), dtype=bool)
    if filters.min_rating is not None:
        if len(ratings) and np.isnan(ratings).all():
            raise BenchError(
                "The card asks for a minimum rating, but the data have no ratings.",
                "Remove min_rating from [filters], or name the rating column in [fields].",
            )
        keep = ratings >= filters.min_rating
    return core(
        users,
        items,
        keep,
        min_user=filters.min_user_interactions,
        min_item=filters.min_item_interactions,
    )


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
