"""Samples as arrays: who, what was seen before, what came next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = -1


@dataclass(frozen=True, kw_only=True)
class Windows:
    """N samples of one split.

    Attributes:
        users: User positions, shape (N,).
        histories: Item positions in time order, shape (N, H), padded on the right with -1.
        targets: The item that came next, shape (N,); -1 where it is not in the catalog.
    """

    users: NDArray[np.int32]
    histories: NDArray[np.int32]
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.targets)
