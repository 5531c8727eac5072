"""Samples as arrays: user, history and target; and the interactions that samples cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = -1


@dataclass(frozen=True, kw_only=True)
class Windows:
    """N samples of one split.

    Attributes:
        users: User indices, shape (N,).
        histories: Item indices in time order, shape (N, H), padded on the right with -1.
        targets: The next item, shape (N,); -1 where it is not in the catalog.
    """

    users: NDArray[np.int32]
    histories: NDArray[np.int32]
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.targets)


def find_covered_interactions(
    start: NDArray[np.int64], target: NDArray[np.int64], num_interactions: int
) -> NDArray[np.int64]:
    """Return the interactions inside any of N windows or targeted by them, each once, ascending.

    A window goes from an interaction in `start` to one in `target`, shape (N,) both.
    """
    depth = np.zeros(num_interactions + 1, dtype=np.int64)
    np.add.at(depth, start, 1)
    np.add.at(depth, target + 1, -1)
    return np.flatnonzero(np.cumsum(depth[:-1]) > 0)
