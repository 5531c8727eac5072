"""Confidence intervals of set-level metrics and their differences, by jackknife or bootstrap.

Resampling users with replacement repeats their lists and so loses distinct items. In simulations
(100 to 1,000 users, 1 or 5 Zipf items per list, 200 to 300 repetitions each) the 95 % interval by
bootstrap percentiles covered the true difference of two different methods in 0 % of the cases for
DivRatio, Coverage and Gini, the delete-d jackknife in 97-99, 91-97 and 93-95 %. The bootstrap is
adequate where items that are recommended just once do not matter: ORRatio 92-96 %, MGU and DGU
94-97 %. `Metric.interval` says which one a metric has.

Both give a standard error; the interval is the normal one around the observed value. The
bootstrap's own percentiles are equally good for similar methods; but where lists hardly repeat an
item, resampling makes repeats, and between a random and a constant recommender percentiles never
covered ORRatio's true difference, nor the observed one. The normal interval always did.

Legend: U units, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.metrics.metric import Metric
from bench.stats.set_metrics import Statistic, UnitSums, Weights

Interval = tuple[float, float] | tuple[None, None]

NUM_RESAMPLES = 2000
FRACTION_LEFT_OUT = 0.2
CONFIDENCE = 0.95


def set_interval(
    metric: Metric, statistic: Statistic, units: UnitSums, *, seed: int = 0
) -> Interval:
    """Compute the 95 % interval of a statistic by the metric's method.

    Args:
        metric: Of the statistic; per-case metrics take the bootstrap.
        statistic: A value or a difference of values, as a function of the weights of units.
        units: Sums over the units that are weighted.
        seed: Of the resampling.

    Returns:
        The ends of the interval; None twice with a single unit.
    """
    if len(units.sizes) < 2:
        return None, None
    method = jackknife if metric.interval == "jackknife" else bootstrap
    return method(statistic, units, seed=seed)


def jackknife(statistic: Statistic, units: UnitSums, *, seed: int = 0) -> tuple[float, float]:
    """Compute a normal interval whose standard error is that of the delete-d jackknife.

    Over random subsets (Shao & Wu 1989): the standard deviation of the statistic without d units,
    times sqrt((U - d) / d). d is a fifth of the units, far more than sqrt(U), which statistics as
    non-smooth as a number of distinct items need. Arguments as in `set_interval`, U >= 2.
    """
    num_units = len(units.sizes)
    num_left_out = max(1, round(FRACTION_LEFT_OUT * num_units))

    def leave_out(rng: np.random.Generator, num_resamples: int) -> Weights:
        order = rng.permuted(np.tile(np.arange(num_units), (num_resamples, 1)), axis=1)
        return (order >= num_left_out).T.astype(np.int32)

    values = _resample(statistic, leave_out, units, seed)
    error = np.sqrt((num_units - num_left_out) / num_left_out) * values.std()
    return _normal_interval(statistic, units, error)


def bootstrap(statistic: Statistic, units: UnitSums, *, seed: int = 0) -> tuple[float, float]:
    """Compute a normal interval whose standard error is that of the bootstrap over units.

    All methods in the statistic are resampled together, so the pairing by unit is kept (Efron &
    Tibshirani 1993). The histories' category mass is that of all cases in every resample. Arguments
    as in `set_interval`, U >= 2.
    """
    num_units = len(units.sizes)

    def draw(rng: np.random.Generator, num_resamples: int) -> Weights:
        shares = np.full(num_units, 1 / num_units)
        return rng.multinomial(num_units, shares, size=num_resamples).T.astype(np.int32)

    error = _resample(statistic, draw, units, seed).std()
    return _normal_interval(statistic, units, error)


def _normal_interval(statistic: Statistic, units: UnitSums, error: float) -> tuple[float, float]:
    value = float(statistic(np.ones((len(units.sizes), 1), dtype=np.int32))[0])
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * error)
    return value - margin, value + margin


def _resample(
    statistic: Statistic,
    draw: Callable[[np.random.Generator, int], Weights],
    units: UnitSums,
    seed: int,
) -> NDArray[np.float64]:
    """Evaluate the statistic on random weightings of the units, shape (NUM_RESAMPLES,)."""
    rng = np.random.default_rng(seed)
    size = units.batch_size
    return np.concatenate(
        [
            statistic(draw(rng, min(size, NUM_RESAMPLES - start)))
            for start in range(0, NUM_RESAMPLES, size)
        ]
    )
