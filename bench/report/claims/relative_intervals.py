"""Intervals of relative differences, which is what closeness is judged by.

The change of a over b is a ratio, ρ - 1 with ρ = a/b. Linearized at ρ, its error is that of the
difference a - ρb over b (Cochran 1977, chapter 6), and differences have intervals already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.metrics.names import Metric, parse
from bench.report.claims.predicates import ROUNDING
from bench.stats.compare import compare
from bench.stats.intervals import interval
from bench.stats.samples import Sample, align, align_lists, per_case
from bench.stats.set_metrics import Score, Sums, Tally, tallies

Interval = tuple[float, float] | tuple[None, None]


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A relative difference.

    Attributes:
        change: Of the row over its reference, as a share.
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

    def within(self, tau: float) -> bool:
        """Whether the whole interval lies within ± tau."""
        return -tau - ROUNDING <= self.low and self.high <= tau + ROUNDING

    def beyond(self, tau: float) -> bool:
        """Whether the whole interval lies on one side beyond tau."""
        return self.low > tau + ROUNDING or self.high < -tau - ROUNDING


def relative(reference: Sample, other: Sample, metric: str, *, seed: int = 0) -> Relative | None:
    """Estimate the relative difference between two methods; all metrics are at least 0.

    Returns:
        None where the reference is 0 and the other is not, or where there is a single unit.

    Raises:
        BenchError: If the two cannot be compared.
    """
    parsed = parse(metric)
    of = _of_means if parsed.per_case else _of_sets
    base, value, (low, high) = of(reference, other, parsed, seed)
    if base == 0:
        return Relative(change=0.0, low=0.0, high=0.0) if value == 0 else None
    if low is None or high is None:
        return None
    change = value / base - 1
    return Relative(change=change, low=change + low / base, high=change + high / base)


def _of_means(
    reference: Sample, other: Sample, metric: Metric, seed: int
) -> tuple[float, float, Interval]:
    align(reference, other)
    base = float(per_case(reference, metric.name).mean())
    value = float(per_case(other, metric.name).mean())
    ratio = value / base if base else 1.0
    scaled = replace(reference, values={metric.name: ratio * reference.values[metric.name]})
    # Only the interval is wanted, so the test draws as little as it can.
    found = compare(scaled, other, metric.name, num_resamples=1, seed=seed)
    if found.low is None or found.high is None:
        return base, value, (None, None)
    return base, value, (found.low, found.high)


def _of_sets(
    reference: Sample, other: Sample, metric: Metric, seed: int
) -> tuple[float, float, Interval]:
    reference, other = align_lists(reference, other)
    units = reference.units()
    first, second = tallies([reference, other], metric, units)
    base = float(first.mean(units.each_once())[0])
    value = float(second.mean(units.each_once())[0])
    scaled = _scaled(first, value / base if base else 1.0)
    return base, value, interval(metric, scaled, second, seed=seed)


def _scaled(tally: Tally, factor: float) -> Tally:
    score: Score = tally.score

    def scaled(sums: Sums, num_lists: NDArray[np.float64]) -> NDArray[np.float64]:
        return factor * score(sums, num_lists)

    return replace(tally, score=scaled)
