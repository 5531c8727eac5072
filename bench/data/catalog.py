"""The items that can be recommended, and the categories that fairness metrics track.

Categories follow SPRec (Gao et al., WWW 2025, section 5.1.3): an item with c tracked categories
counts 1/c for each of them; an item with none counts for nothing. Tracked are the ten most frequent
ones in training, without those that another one contains; these are not replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Items in a fixed order; everything else refers to them by index.

    Attributes:
        ids: Source id of each item.
        titles: Title of each item; not necessarily distinct.
        categories: All categories of each item, tracked or not.
        tracked: Names of the tracked categories, in the order that every vector over them uses.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    tracked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Category weights of each item, shape (items, tracked); every row sums to 1 or to 0."""
        column = {name: number for number, name in enumerate(self.tracked)}
        shares = np.zeros((len(self), len(self.tracked)))
        for item, names in enumerate(self.categories):
            columns = sorted({column[name] for name in names if name in column})
            if columns:
                shares[item, columns] = 1 / len(columns)
        return shares


def select_tracked(
    item_categories: Sequence[tuple[str, ...]], items: NDArray[np.int32], choice: Categories
) -> tuple[str, ...]:
    """Select the tracked categories.

    Args:
        item_categories: All categories of each item.
        items: Item of each interaction to count, shape (L,).
        choice: The card's number of categories and names to exclude.

    Returns:
        Names, the most frequent first, equal counts by name.
    """
    counts: Counter[str] = Counter()
    for names, num in zip(
        item_categories, np.bincount(items, minlength=len(item_categories)), strict=True
    ):
        if num:
            counts.update(dict.fromkeys(names, int(num)))
    candidates = sorted(counts.keys() - set(choice.drop), key=lambda name: (-counts[name], name))
    return tuple(name for name in candidates[: choice.top] if name not in choice.remove)


def describe_unused_names(
    item_categories: Sequence[tuple[str, ...]], choice: Categories
) -> list[str]:
    """Return a sentence per category that the card excludes although no item has it."""
    existing = {name for names in item_categories for name in names}
    return [
        f"The card excludes the category {name!r}, which no item has."
        for name in sorted({*choice.drop, *choice.remove} - existing)
    ]
