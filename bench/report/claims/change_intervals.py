"""Intervals of relative differences and of differences of differences, and verdicts by the latter.

A relative change from b to a is a ratio, ρ - 1 with ρ = a/b. Linearized at ρ, its error is that of
the difference a - ρb over b (Cochran 1977, chapter 6). For a difference of differences, an
interaction, all four rows of a data set are resampled together, so that what they share cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.errors import BenchError
from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Larger, is_higher_better
from bench.report.claims.predicates import ROUNDING
from bench.report.claims.runs import Comparisons, ReproducedCell
from bench.report.claims.verdict import ReproducedVerdict
from bench.stats.intervals import Interval, set_interval
from bench.stats.paired import paired_t
from bench.stats.samples import Sample, align_cases, align_lists, get_case_values
from bench.stats.set_metrics import Statistic, UnitSums, Weights, subtract, sum_units

# An estimate and the ends of its 95 % interval; None without one.
EstimateAndInterval = tuple[float, float | None, float | None]


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


def judge_larger(
    check: Larger, cell: Cell, tests: Comparisons, dataset: str, other: str
) -> ReproducedCell:
    """Judge whether a - b exceeds c - d in the metric's better direction.

    Args:
        check: The claim.
        cell: Its rows a, b, c, d, all with results.
        tests: Of our results.
        dataset: Card of the data set of a and b.
        other: Card of that of c and d; "" for the same.
    """
    if check.relative:
        return ReproducedCell(cell=cell, verdict="shown", text="relative changes are not tested")
    if other:
        estimate, low, high = _compare_datasets(cell, tests, dataset, other)
    else:
        samples = [tests.get_sample(dataset, row) for row in cell.rows]
        estimate, low, high = difference_of_differences(samples, cell.metric, seed=tests.seed)
    if low is None or high is None:
        text = f"{estimate:+.4f}, no interval"
        return ReproducedCell(cell=cell, verdict="undecided", text=text)
    if not is_higher_better(cell.metric):
        estimate, low, high = -estimate, -high, -low
    verdict: ReproducedVerdict = "holds" if low > 0 else "fails" if high < 0 else "undecided"
    a, b, c, d = cell.rows
    where = f" on {other}" if other else ""
    text = (
        f"({a} - {b}) against ({c} - {d}){where}, in the better direction: "
        f"{estimate:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]"
    )
    return ReproducedCell(cell=cell, verdict=verdict, text=text)


def difference_of_differences(
    samples: Sequence[Sample], metric: str, *, seed: int = 0
) -> EstimateAndInterval:
    """Estimate (a - b) - (c - d) with its 95 % interval over users.

    Args:
        samples: a, b, c, d on the same cases.
        metric: Its name.
        seed: Of the resampling.

    Returns:
        The estimate and the ends of its interval, in the metric's unit; None with a single unit.

    Raises:
        BenchError: If the four cannot be compared.
    """
    family = get_metric(metric)
    combine = _combine_means if family.per_case else _combine_sets
    interaction, sums = combine(samples, family)
    low, high = set_interval(family, interaction, sums, seed=seed)
    once = np.ones((len(sums.sizes), 1), dtype=np.int32)
    return float(interaction(once)[0]), low, high


def _combine_means(samples: Sequence[Sample], metric: Metric) -> tuple[Statistic, UnitSums]:
    aligned = [align_cases(samples[0], sample)[1] for sample in samples]
    a, b, c, d = (get_case_values(sample, metric.name).mean(axis=0) for sample in aligned)
    units = samples[0].units
    changes = np.bincount(units.of_case, weights=(a - b) - (c - d))
    sums = UnitSums(
        amounts=(sparse.csr_array(changes[None, :]),),
        sizes=units.sizes,
        score=lambda sums, num_cases: sums[:, 0] / num_cases,
    )
    return sums.mean, sums


def _combine_sets(samples: Sequence[Sample], metric: Metric) -> tuple[Statistic, UnitSums]:
    seeds = [seed for seed in samples[0].seeds if all(seed in sample.seeds for sample in samples)]
    if not seeds:
        raise BenchError(f"The rows compared on {metric.name} have no seed in common.")
    common = [sample.select_seeds(seeds) for sample in samples]
    aligned = [align_lists(common[0], sample)[1] for sample in common]
    a, b, c, d = sum_units(aligned, metric, aligned[0].units)
    first, second = subtract(a, b), subtract(c, d)
    return lambda weights: first(weights) - second(weights), c


def _compare_datasets(
    cell: Cell, tests: Comparisons, dataset: str, other: str
) -> EstimateAndInterval:
    """Subtract differences on two data sets; they share no users, so their variances add."""
    a, b, c, d = cell.rows
    first = tests.compare(dataset, b, a, cell.metric)
    second = tests.compare(other, d, c, cell.metric)
    estimate = first.difference - second.difference
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return estimate, None, None
    margin = float(np.hypot(first.high - first.low, second.high - second.low)) / 2
    return estimate, estimate - margin, estimate + margin
