"""The items that can be recommended, and the categories that fairness metrics track.

Categories follow SPRec (Gao et al., WWW 2025, section 5.1.3): an item with c tracked categories
gives 1/c of its mass to each of them; an item with none gives nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Items in a fixed order; everything else refers to them by position.

    Attributes:
        ids: Source ids, one an item.
        titles: Titles, one an item; not necessarily distinct.
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
        """Category mass of each item, shape (items, tracked); every row sums to 1 or to 0."""
        column = {name: number for number, name in enumerate(self.tracked)}
        shares = np.zeros((len(self), len(self.tracked)))
        for item, names in enumerate(self.categories):
            kept = sorted({column[name] for name in names if name in column})
            if kept:
                shares[item, kept] = 1 / len(kept)
        return shares
