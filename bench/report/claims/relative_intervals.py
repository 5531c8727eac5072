"""Intervals of relative differences, by which closeness is judged.

The change from b to a is a ratio, ρ - 1 with ρ = a/b. Linearized at ρ, its error is that of the
difference a - ρb over b (Cochran 1977, chapter 6), and differences have intervals already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.report.claims.predicates import ROUNDING
from bench.stats.intervals import Interval, set_interval
from bench.stats.paired import paired_t
from bench.stats.samples import Sample, align_cases, align_lists, get_case_values
from bench.stats.set_metrics import Weights, sum_units


@dataclass(frozen=True, kw_only=True)
class RelativeDifference:
    """A relative difference.

    Attributes:
        change: From the reference to the row, as a fraction.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
    """

    change: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The numbers, in percent."""
        return (
            f"{100 * self.change:+.1f} %, 95 % interval "
            f"[{100 * self.low:+.1f} %, {100 * self.high:+.1f} %]"
        )

    def is_within(self, tau: float) -> bool:
        """Return whether the whole interval lies within ± tau."""
        return -tau - ROUNDING <= self.low and self.high <= tau + ROUNDING

    def is_beyond(self, tau: float) -> bool:
        """Return whether the whole interval lies on one side beyond tau."""
        return self.low > tau + ROUNDING or self.high < -tau - ROUNDING


def estimate_relative(
    reference: Sample, other: Sample, metric: str, *, seed: int = 0
) -> RelativeDifference | None:
    """Estimate the relative difference between two methods; all metrics are at least 0.

    Returns:
        None if the reference is 0 and the other is not, or if there is a single unit.

    Raises:
        BenchError: If the two cannot be compared.
    """
    family = get_metric(metric)
    estimate = _estimate_means if family.per_case else _estimate_sets
    base, value, (low, high) = estimate(reference, other, family, seed)
    if base == 0:
        return RelativeDifference(change=0.0, low=0.0, high=0.0) if value == 0 else None
    if low is None or high is None:
        return None
    change = value / base - 1
    return RelativeDifference(change=change, low=change + low / base, high=change + high / base)


def _estimate_means(
    reference: Sample, other: Sample, metric: Metric, seed: int
) -> tuple[float, float, Interval]:
    reference, other = align_cases(reference, other)
    before = get_case_values(reference, metric.name).mean(axis=0)
    after = get_case_values(other, metric.name).mean(axis=0)
    base, value = float(before.mean()), float(after.mean())
    units = reference.units
    change = after - (value / base if base else 1.0) * before
    mean = paired_t(np.bincount(units.of_case, weights=change).astype(np.float64), units.sizes)
    if mean.low is None or mean.high is None:
        return base, value, (None, None)
    return base, value, (mean.low, mean.high)


def _estimate_sets(
    reference: Sample, other: Sample, metric: Metric, seed: int
) -> tuple[float, float, Interval]:
    reference, other = align_lists(reference, other)
    units = reference.units
    first, second = sum_units([reference, other], metric, units)
    base = float(first.mean(units.equal_weights)[0])
    value = float(second.mean(units.equal_weights)[0])
    ratio = value / base if base else 1.0

    def change(weights: Weights) -> NDArray[np.float64]:
        return second.mean(weights) - ratio * first.mean(weights)

    return base, value, set_interval(metric, change, first, seed=seed)
