"""Intervals of differences between set-level metrics, by leaving units out or drawing them again.

Drawing users with replacement repeats their lists and so destroys distinct items. In simulations
(100 to 1,000 users, 1 or 5 Zipf items a list, 200 to 300 repetitions each) the 95 % interval by
bootstrap percentiles covered the true difference of two unlike methods in 0 % of the cases for
DivRatio, Coverage and Gini, the delete-d jackknife in 97-99, 91-97 and 93-95 %. Where it does not
matter which items are shown just once the bootstrap serves: ORRatio 92-96 %, MGU and DGU 94-97 %.

Both give a standard error, and the interval is the normal one around the observed difference. The
bootstrap's own percentiles do as well for like methods; but where lists hardly repeat an item,
drawing users again makes repeats, and between a random and a constant recommender they never
covered ORRatio's true difference, nor the observed one. The normal interval always did.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.metrics.names import Metric
from bench.stats.set_metrics import Tally

Weights = NDArray[np.int32]
Interval = tuple[float, float] | tuple[None, None]

NUM_DRAWS = 2000
SHARE_LEFT_OUT = 0.2
BY_JACKKNIFE = frozenset({"DivRatio", "Coverage", "Gini"})


def interval(metric: Metric, reference: Tally, other: Tally, *, seed: int = 0) -> Interval:
    """Choose the interval that fits the metric.

    Args:
        metric: A set-level metric.
        reference: One method.
        other: The other, over the same units, seeds and items.
        seed: Of the draws.

    Returns:
        The ends of the 95 % interval of other - reference; None twice with a single unit.
    """
    if len(reference.sizes) < 2:
        return None, None
    method = jackknife if metric.family in BY_JACKKNIFE else bootstrap
    return method(reference, other, seed=seed)


def jackknife(
    reference: Tally, other: Tally, *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Leave a fifth of the units out, many times; normal interval around the observed difference.

    The standard error is that of the delete-d jackknife over random subsets (Shao & Wu 1989): the
    spread of the partial differences, times sqrt((U - d) / d). A fifth is far more than sqrt(U),
    which statistics as rough as a number of distinct items need.

    Args:
        reference: One method, with U >= 2 units.
        other: The other.
        seed: Of the subsets.
        confidence: In (0, 1).
    """
    num_units = len(reference.sizes)
    num_out = max(1, round(SHARE_LEFT_OUT * num_units))

    def without(rng: np.random.Generator, num_draws: int) -> Weights:
        order = rng.permuted(np.tile(np.arange(num_units), (num_draws, 1)), axis=1)
        return (order >= num_out).T.astype(np.int32)

    partial = _differences(reference, other, without, seed)
    error = np.sqrt((num_units - num_out) / num_out) * partial.std()
    return _around(reference, other, error, confidence)


def bootstrap(
    reference: Tally, other: Tally, *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Draw as many units as there are, with replacement; normal interval (Efron & Tibshirani 1993).

    Both methods are drawn alike, so the pairing by unit is kept. The mix of the histories is held
    fixed at that of all cases.

    Args:
        reference: One method, with U >= 2 units.
        other: The other.
        seed: Of the draws.
        confidence: In (0, 1).
    """
    num_units = len(reference.sizes)

    def again(rng: np.random.Generator, num_draws: int) -> Weights:
        drawn = rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=num_draws)
        return drawn.T.astype(np.int32)

    error = _differences(reference, other, again, seed).std()
    return _around(reference, other, error, confidence)


def _around(reference: Tally, other: Tally, error: float, confidence: float) -> tuple[float, float]:
    everything = np.ones((len(reference.sizes), 1), dtype=np.int32)
    observed = float((other.mean(everything) - reference.mean(everything))[0])
    reach = float(stats.norm.ppf((1 + confidence) / 2) * error)
    return observed - reach, observed + reach


def _differences(
    reference: Tally,
    other: Tally,
    draw: Callable[[np.random.Generator, int], Weights],
    seed: int,
) -> NDArray[np.float64]:
    """Evaluate other - reference on `NUM_DRAWS` random weightings, shape (NUM_DRAWS,)."""
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, NUM_DRAWS, reference.batch):
        weights = draw(rng, min(reference.batch, NUM_DRAWS - start))
        parts.append(other.mean(weights) - reference.mean(weights))
    return np.concatenate(parts)
