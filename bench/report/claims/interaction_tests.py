"""Verdicts on differences of differences (interactions), by resampling users.

Within a data set all four rows are resampled together, so that what they share cancels. The
standard error is the metric's own, see `bench.stats.intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.errors import BenchError
from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Larger, is_higher_better
from bench.report.claims.runs import Comparisons, ReproducedCell
from bench.report.claims.verdict import ReproducedVerdict
from bench.stats.intervals import set_interval
from bench.stats.samples import Sample, Units, align_cases, align_lists, get_case_values
from bench.stats.set_metrics import UnitSums, Weights, subtract, sum_units

# An estimate and the ends of its 95 % interval; None without one.
EstimateAndInterval = tuple[float, float | None, float | None]


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
    units, (a, b, c, d) = (_sum_cases if family.per_case else _sum_lists)(samples, family)
    first, second = subtract(a, b), subtract(c, d)

    def interaction(weights: Weights) -> NDArray[np.float64]:
        return first(weights) - second(weights)

    low, high = set_interval(family, interaction, c, seed=seed)
    return float(interaction(units.equal_weights)[0]), low, high


def _sum_cases(samples: Sequence[Sample], metric: Metric) -> tuple[Units, tuple[UnitSums, ...]]:
    aligned = [align_cases(samples[0], sample)[1] for sample in samples]
    units = samples[0].units

    def score(sums: NDArray[np.float64], num_cases: NDArray[np.float64]) -> NDArray[np.float64]:
        return sums[:, 0] / num_cases

    unit_sums = []
    for sample in aligned:
        values = get_case_values(sample, metric.name).mean(axis=0)
        sums = np.bincount(units.of_case, weights=values)
        amounts = (sparse.csr_array(sums[None, :]),)
        unit_sums.append(UnitSums(amounts=amounts, sizes=units.sizes, score=score))
    return units, tuple(unit_sums)


def _sum_lists(samples: Sequence[Sample], metric: Metric) -> tuple[Units, tuple[UnitSums, ...]]:
    seeds = [seed for seed in samples[0].seeds if all(seed in sample.seeds for sample in samples)]
    if not seeds:
        raise BenchError(f"The rows compared on {metric.name} have no seed in common.")
    common = [sample.select_seeds(seeds) for sample in samples]
    aligned = [align_lists(common[0], sample)[1] for sample in common]
    return aligned[0].units, sum_units(aligned, metric, aligned[0].units)


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
