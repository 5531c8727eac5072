"""Label-swap randomisation for set-level metrics.

If two methods do not differ, it does not matter which of them gave which list of a case. So whole
lists change hands, all lists of a user together where cases are nested, and the metric is computed
anew from the exchanged sets. One swap serves all seeds: seeds of a case are no independent units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.stats.randomisation import ROUNDING, randomisation_p
from bench.stats.tally import Tally


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
    one, two = first.beside(second), second.beside(first)

    def statistic(flips: NDArray[np.bool_]) -> NDArray[np.float64]:
        weights = np.concatenate([~flips.T, flips.T])
        return two.mean(weights) - one.mean(weights)

    return randomisation_p(
        statistic,
        num_units=len(first.sizes),
        num_resamples=num_resamples,
        seed=seed,
        batch=one.batch,
        tolerance=ROUNDING,
    )
