"""Accuracy of top-k lists with one relevant item a case: hit ratio and NDCG, case by case.

Their means over all n cases are HR@k and NDCG@k as SPRec's scorer computes them (Gao et al., WWW
2025): a case whose target is unknown counts as a miss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hits(ranks: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Whether the target is among the first k.

    Args:
        ranks: The target's place in each list, from 0; -1 where it is absent. Any shape.
        k: Length of the lists, from 1.

    Returns:
        0 or 1 for each rank, in the shape of `ranks`.
    """
    return ((ranks >= 0) & (ranks < k)).astype(np.float64)


def ndcg(ranks: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Discounted gain of the target within the first k; with one relevant item the ideal is 1.

    Args:
        ranks: The target's place in each list, from 0; -1 where it is absent. Any shape.
        k: Length of the lists, from 1.

    Returns:
        `1 / log2(rank + 2)` for a hit and 0 for a miss, in the shape of `ranks`.
    """
    gains: NDArray[np.float64] = hits(ranks, k) / np.log2(np.maximum(ranks, 0) + 2.0)
    return gains
