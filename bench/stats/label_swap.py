"""Label-swap randomization test for set-level metrics.

If two methods do not differ, it does not matter which of them gave which list of a case. So whole
lists are exchanged, all lists of a user together where cases are nested in users, and the metric is
computed again from the exchanged sets. One swap holds for all seeds: the seeds of a case are not
independent units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.stats.randomization import ROUNDING, randomization_p
from bench.stats.set_metrics import Sums, UnitSums


def label_swap(
    first: UnitSums, second: UnitSums, *, num_resamples: int = 9999, seed: int = 0
) -> float:
    """Test whether the difference of a set-level metric depends on which method gave which list.

    Args:
        first: One method.
        second: The other one, over the same units, seeds and items.
        num_resamples: Random swaps if there are more possible ones.
        seed: Of the random swaps.

    Returns:
        Two-sided p in (0, 1]; exact where there are at most `num_resamples` swaps.
    """
    exchanges = [
        _Exchange.between(a, b) for a, b in zip(first.amounts, second.amounts, strict=True)
    ]
    num_lists = np.array([first.sizes.sum()], dtype=np.float64)

    def compute_difference(flips: NDArray[np.bool_]) -> NDArray[np.float64]:
        differences = []
        for exchange in exchanges:
            first_sums, second_sums = exchange.swap(flips)
            differences.append(
                second.score(second_sums, num_lists) - first.score(first_sums, num_lists)
            )
        return np.asarray(np.mean(differences, axis=0))

    return randomization_p(
        compute_difference,
        num_units=len(first.sizes),
        num_resamples=num_resamples,
        seed=seed,
        batch_size=first.batch_size,
        tolerance=ROUNDING,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Exchange:
    """What a swap changes within one seed: one matrix product serves both methods.

    Attributes:
        first: Observed sums of one method, shape (X,).
        second: Observed sums of the other, shape (X,).
        change: What a swap of each unit adds to the first and takes from the second, shape (X, U);
            dense for the few categories, where BLAS is several times faster.
    """

    first: Sums
    second: Sums
    change: sparse.csr_array | Sums

    @classmethod
    def between(cls, first: sparse.csr_array, second: sparse.csr_array) -> _Exchange:
        first_sums, second_sums = first.sum(axis=1), second.sum(axis=1)
        change = second - first
        if np.issubdtype(change.dtype, np.floating):
            return cls(first=first_sums, second=second_sums, change=change.toarray())
        # No pattern of swaps counts an item more often than both methods together.
        largest = int((first_sums + second_sums).max(initial=0))
        dtype = np.int16 if largest <= np.iinfo(np.int16).max else np.int32
        return cls(
            first=first_sums.astype(dtype),
            second=second_sums.astype(dtype),
            change=change.astype(dtype),
        )

    def swap(self, flips: NDArray[np.bool_]) -> tuple[Sums, Sums]:
        """Sum up both methods' lists after each pattern of swaps, shape (R, X) each."""
        # scipy's product is several times slower on another layout or with another type.
        weights = np.ascontiguousarray(flips.T, dtype=self.change.dtype)
        change = self.change @ weights
        return (self.first[:, None] + change).T, (self.second[:, None] - change).T
