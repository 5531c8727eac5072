"""Which categories the fairness metrics track: the most frequent ones in training.

SPRec (Gao et al., WWW 2025, section 5.1.3) takes the ten most frequent and then removes those that
another one contains, without filling up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories


def tracked_categories(
    item_categories: Sequence[tuple[str, ...]], items: NDArray[np.int32], choice: Categories
) -> tuple[str, ...]:
    """Choose the tracked categories.

    Args:
        item_categories: All categories of each item.
        items: Items of the interactions that count, each interaction once, shape (L,).
        choice: How many, what is left out before counting and what afterwards.

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


def idle_names(item_categories: Sequence[tuple[str, ...]], choice: Categories) -> list[str]:
    """List the names that the card drops or removes although no item has them."""
    existing = {name for names in item_categories for name in names}
    return sorted({*choice.drop, *choice.remove} - existing)
