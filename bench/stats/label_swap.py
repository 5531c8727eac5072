"""Label-swap randomization test for set-level metrics.

If two methods do not differ, it does not matter which of them gave which list of a case. So whole
lists are exchanged, all lists of a user together where cases are nested in users, and the metric is
computed again from the exchanged sets. One swap holds for all seeds: the seeds of a case are not
independent units.
"""

from __future__ import annotations

from collections.abc import Callable

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
    sums = [_sum_swapped(a, b) for a, b in zip(first.amounts, second.amounts, strict=True)]
    num_lists = np.array([first.sizes.sum()], dtype=np.float64)

    def compute_difference(flips: NDArray[np.bool_]) -> NDArray[np.float64]:
        swapped = [sum_seed(flips) for sum_seed in sums]
        differences = [second.score(b, num_lists) - first.score(a, num_lists) for a, b in swapped]
        return np.asarray(np.mean(differences, axis=0))

    return randomization_p(
        compute_difference,
        num_units=len(first.sizes),
        num_resamples=num_resamples,
        seed=seed,
        batch_size=first.batch_size,
        tolerance=ROUNDING,
    )


def _sum_swapped(
    first: sparse.csr_array, second: sparse.csr_array
) -> Callable[[NDArray[np.bool_]], tuple[Sums, Sums]]:
    """Return both methods' sums after each pattern of swaps, shape (R, X) each, as a function.

    One matrix product serves both methods: what a swap adds to the first it takes from the second.
    """
    first_sums, second_sums = first.sum(axis=1), second.sum(axis=1)
    change = second - first
    if np.issubdtype(change.dtype, np.floating):
        change = change.toarray()  # of the few categories, where BLAS is several times faster
    else:
        # No pattern of swaps counts an item more often than both methods together.
        largest = int((first_sums + second_sums).max(initial=0))
        dtype = np.int16 if largest <= np.iinfo(np.int16).max else np.int32
        first_sums, second_sums = first_sums.astype(dtype), second_sums.astype(dtype)
        change = change.astype(dtype)

    def swap(flips: NDArray[np.bool_]) -> tuple[Sums, Sums]:
        # scipy's product is several times slower on another layout or with another type.
        moved = change @ np.ascontiguousarray(flips.T, dtype=change.dtype)
        return (first_sums[:, None] + moved).T, (second_sums[:, None] - moved).T

    return swap
