"""Linear combinations of one metric of several methods on the same cases, with 95 % intervals.

A value has the coefficient 1, a difference -1 and 1, an interaction 1, -1, -1 and 1. Means over
cases get a t interval over units; set-level metrics are resampled (`bench.stats.intervals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.stats.intervals import set_interval
from bench.stats.paired import Estimate, paired_t
from bench.stats.samples import Sample, Units, align_cases, align_lists, get_case_values
from bench.stats.set_metrics import UnitSums, Weights, sum_units

DIFFERENCE = (-1, 1)
"""The second method minus the first, the reference."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedSamples:
    """M methods on the same cases, measured by one metric.

    Attributes:
        samples: The methods, cases in the same order; for a set-level metric with the seeds that
            all of them have and the cases whose target is in the catalog.
        metric: The metric.
    """

    samples: Sequence[Sample]
    metric: Metric

    @classmethod
    def align(cls, samples: Sequence[Sample], metric: str) -> AlignedSamples:
        """Align methods for a metric.

        Raises:
            BenchError: If they cannot be compared (`align_cases`, `align_lists`).
        """
        family = get_metric(metric)
        align = align_cases if family.per_case else align_lists
        return cls(samples=align(*samples), metric=family)

    @property
    def units(self) -> Units:
        """The units of analysis."""
        return self.samples[0].units

    @cached_property
    def case_means(self) -> NDArray[np.float64]:
        """Per-case values averaged over seeds, shape (M, C).

        Seeds are averaged first: the cases of different seeds are not independent repetitions.
        """
        values = [get_case_values(sample, self.metric.name) for sample in self.samples]
        return np.stack([value.mean(axis=0) for value in values])

    @cached_property
    def sums(self) -> tuple[UnitSums, ...]:
        """What each method's value is computed from when units are weighted."""
        if not self.metric.per_case:
            return sum_units(self.samples, self.metric, self.units)
        return tuple(
            UnitSums(
                amounts=(sparse.csr_array(self._sum_within_units(means)[None, :]),),
                sizes=self.units.sizes,
                score=lambda sums, num_cases: sums[:, 0] / num_cases,
            )
            for means in self.case_means
        )

    @property
    def means(self) -> list[float]:
        """The value of each method, mean over seeds."""
        if self.metric.per_case:
            return [float(means.mean()) for means in self.case_means]
        return [float(sums.mean(self.units.equal_weights)[0]) for sums in self.sums]

    def sum_changes(self, coefficients: Sequence[float]) -> NDArray[np.float64]:
        """Combine a per-case metric's values case by case, summed within units, shape (U,)."""
        return self._sum_within_units(_combine(coefficients, self.case_means))

    def estimate(
        self, coefficients: Sequence[float], *, seed: int = 0, resample: bool = False
    ) -> Estimate:
        """Estimate a combination of the methods' values.

        Args:
            coefficients: One per method.
            seed: Of the resampling.
            resample: Whether units are resampled for a per-case metric, too.
        """
        if self.metric.per_case and not resample:
            return paired_t(self.sum_changes(coefficients), self.units.sizes)

        def combine(weights: Weights) -> NDArray[np.float64]:
            return _combine(coefficients, [sums.mean(weights) for sums in self.sums])

        low, high = set_interval(self.metric, combine, self.sums[0], seed=seed)
        return Estimate(value=float(combine(self.units.equal_weights)[0]), low=low, high=high)

    def _sum_within_units(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.units.of_case, weights=values).astype(np.float64)


def _combine(
    coefficients: Sequence[float], values: Sequence[NDArray[np.float64]] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Combine values; those added and those subtracted are summed apart, so equal ones cancel."""
    terms = list(zip(coefficients, values, strict=True))
    added = [c * value for c, value in terms if c > 0]
    subtracted = [-c * value for c, value in terms if c < 0]
    return np.asarray(sum(added) - sum(subtracted))


def estimate_relative(
    reference: Sample, other: Sample, metric: str, *, seed: int = 0
) -> Estimate | None:
    """Estimate the relative difference between two methods, as a fraction of the reference.

    It is ρ - 1 with ρ the ratio of the two values. Linearized at ρ, its error is that of the
    difference other - ρ reference, over the reference (Cochran 1977, chapter 6).

    Returns:
        None if the reference is 0 and the other is not, or if there is a single unit.

    Raises:
        BenchError: If the two cannot be compared.
    """
    aligned = AlignedSamples.align([reference, other], metric)
    base, value = aligned.means
    if base == 0:
        return Estimate(value=0.0, low=0.0, high=0.0) if value == 0 else None
    error = aligned.estimate([-value / base, 1], seed=seed)
    if error.low is None or error.high is None:
        return None
    change = value / base - 1
    return Estimate(value=change, low=change + error.low / base, high=change + error.high / base)


def difference_of_differences(samples: Sequence[Sample], metric: str, *, seed: int = 0) -> Estimate:
    """Estimate (a - b) - (c - d) for the samples a, b, c, d.

    The four are resampled together, so that what they share cancels.

    Raises:
        BenchError: If the four cannot be compared.
    """
    aligned = AlignedSamples.align(samples, metric)
    return aligned.estimate([1, -1, -1, 1], seed=seed, resample=True)
