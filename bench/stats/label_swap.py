"""Label-swap randomization for set-level metrics.

If two methods do not differ, it does not matter which of them gave which list of a case. So whole
lists change hands, all lists of a user together where cases are nested, and the metric is computed
anew from the exchanged sets. One swap serves all seeds: seeds of a case are no independent units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.stats.randomization import ROUNDING, randomization_p
from bench.stats.set_metrics import Sums, Tally


def label_swap(first: Tally, second: Tally, *, num_resamples: int = 9999, seed: int = 0) -> float:
    """Test whether the difference of a set-level metric depends on whose lists are whose.

    Args:
        first: One method.
        second: The other, over the same units, seeds and items.
        num_resamples: Random swaps where there are more than that many.
        seed: Of the random swaps.

    Returns:
        Two-sided p in (0, 1]; exact where there are at most `num_resamples` swaps.
    """
    exchange = [
        _Exchange.between(one, two) for one, two in zip(first.amounts, second.amounts, strict=True)
    ]
    num_lists = np.array([first.sizes.sum()], dtype=np.float64)

    def statistic(flips: NDArray[np.bool_]) -> NDArray[np.float64]:
        parts = []
        for seed in exchange:
            mine, theirs = seed.sums(flips)
            parts.append(second.score(theirs, num_lists) - first.score(mine, num_lists))
        return np.asarray(np.mean(parts, axis=0))

    return randomization_p(
        statistic,
        num_units=len(first.sizes),
        num_resamples=num_resamples,
        seed=seed,
        batch=first.batch,
        tolerance=ROUNDING,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Exchange:
    """What changes hands within one seed: one product of matrices serves both methods.

    Attributes:
        first: Sums of one method as observed, shape (X,).
        second: Sums of the other, shape (X,).
        moved: What a swap of each unit brings to the first and takes from the second, (X, U);
            dense for the few categories, where BLAS is several times as quick.
    """

    first: Sums
    second: Sums
    moved: sparse.csr_array | Sums

    @classmethod
    def between(cls, first: sparse.csr_array, second: sparse.csr_array) -> _Exchange:
        mine, theirs = first.sum(axis=1), second.sum(axis=1)
        moved = second - first
        if np.issubdtype(moved.dtype, np.floating):
            return cls(first=mine, second=theirs, moved=moved.toarray())
        # No pattern of swaps shows an item more often than both do together.
        most = int((mine + theirs).max(initial=0))
        kind = np.int16 if most <= np.iinfo(np.int16).max else np.int32
        return cls(first=mine.astype(kind), second=theirs.astype(kind), moved=moved.astype(kind))

    def sums(self, flips: NDArray[np.bool_]) -> tuple[Sums, Sums]:
        """Sum up both methods' lists after each pattern of swaps, shapes (R, X)."""
        # scipy's product is several times slower on another layout or with another type.
        weights = np.ascontiguousarray(flips.T, dtype=self.moved.dtype)
        moved = self.moved @ weights
        return (self.first[:, None] + moved).T, (self.second[:, None] - moved).T
