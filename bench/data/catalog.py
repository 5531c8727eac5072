"""The items that can be recommended, and the categories that fairness metrics track.

Categories follow SPRec (Gao et al., WWW 2025, section 5.1.3): an item with c tracked categories
counts 1/c for each of them; an item with none counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Items in a fixed order; everything else refers to them by index.

    Attributes:
        titles: Title of each item; not necessarily distinct.
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
