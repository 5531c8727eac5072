"""Verdicts on differences of differences, by drawing users again.

Within a data set all four rows are drawn together, so that what they share cancels. DivRatio and
its kin take the delete-d jackknife instead, as everywhere (`bench.stats.intervals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.errors import BenchError
from bench.metrics.names import Metric, parse
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Larger
from bench.report.claims.measures import higher_is_better
from bench.report.claims.runs import Comparisons, Finding
from bench.report.claims.verdict import Ours
from bench.stats.intervals import interval
from bench.stats.samples import Sample, Units, align, align_lists, per_case
from bench.stats.set_metrics import Tally, tallies


@dataclass(frozen=True, kw_only=True, eq=False)
class Change(Tally):
    """The difference between two rows as one quantity; evaluates to first - `less`."""

    less: Tally

    def mean(self, weights: NDArray[np.integer | np.bool_]) -> NDArray[np.float64]:
        """Average over seeds, shape (R,)."""
        return super().mean(weights) - self.less.mean(weights)

    @classmethod
    def between(cls, first: Tally, less: Tally) -> Change:
        """Subtract one tally from another over the same units."""
        return cls(amounts=first.amounts, sizes=first.sizes, score=first.score, less=less)


def larger(check: Larger, cell: Cell, tests: Comparisons, dataset: str, other: str) -> Finding:
    """Judge whether a - b exceeds c - d in the metric's better direction.

    Args:
        check: The form.
        cell: Its rows a, b, c, d, all present.
        tests: Of the runs.
        dataset: Card of the data set of a and b.
        other: Card of that of c and d; "" for the same.
    """
    if check.relative:
        return Finding(cell=cell, verdict="shown", text="relative changes are not tested")
    if other:
        estimate, low, high = _across(cell, tests, dataset, other)
    else:
        samples = [tests.sample(dataset, row) for row in cell.rows]
        estimate, low, high = difference_of_differences(samples, cell.metric, seed=tests.seed)
    if low is None or high is None:
        return Finding(cell=cell, verdict="undecided", text=f"{estimate:+.4f}, no interval")
    if not higher_is_better(cell.metric):
        estimate, low, high = -estimate, -high, -low
    verdict: Ours = "holds" if low > 0 else "fails" if high < 0 else "undecided"
    a, b, c, d = cell.rows
    where = f" on {other}" if other else ""
    text = (
        f"({a} - {b}) against ({c} - {d}){where}, in the better direction: "
        f"{estimate:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]"
    )
    return Finding(cell=cell, verdict=verdict, text=text)


def difference_of_differences(
    samples: Sequence[Sample], metric: str, *, seed: int = 0
) -> tuple[float, float | None, float | None]:
    """Estimate (a - b) - (c - d) with its 95 % interval over users.

    Args:
        samples: a, b, c, d on the same cases.
        metric: Its name.
        seed: Of the draws.

    Returns:
        The estimate and the ends of its interval, in the metric's unit; None with a single unit.

    Raises:
        BenchError: If the four cannot be compared.
    """
    parsed = parse(metric)
    units, (a, b, c, d) = (_means if parsed.per_case else _sets)(samples, parsed)
    first, second = Change.between(a, b), Change.between(c, d)
    once = units.each_once()
    estimate = float((first.mean(once) - second.mean(once))[0])
    low, high = interval(parsed, second, first, seed=seed)
    return estimate, low, high


def _means(samples: Sequence[Sample], metric: Metric) -> tuple[Units, tuple[Tally, ...]]:
    aligned = [align(samples[0], sample)[1] for sample in samples]
    units = samples[0].units()

    def score(sums: NDArray[np.float64], num_cases: NDArray[np.float64]) -> NDArray[np.float64]:
        return sums[:, 0] / num_cases

    found = []
    for sample in aligned:
        values = per_case(sample, metric.name).mean(axis=0)
        sums = np.bincount(units.of_case, weights=values)
        amounts = (sparse.csr_array(sums[None, :]),)
        found.append(Tally(amounts=amounts, sizes=units.sizes, score=score))
    return units, tuple(found)


def _sets(samples: Sequence[Sample], metric: Metric) -> tuple[Units, tuple[Tally, ...]]:
    seeds = [seed for seed in samples[0].seeds if all(seed in sample.seeds for sample in samples)]
    if not seeds:
        raise BenchError(f"The rows compared on {metric.name} have no seed in common.")
    common = [sample.take_seeds(seeds) for sample in samples]
    aligned = [align_lists(common[0], sample)[1] for sample in common]
    units = aligned[0].units()
    return units, tallies(aligned, metric, units)


def _across(
    cell: Cell, tests: Comparisons, dataset: str, other: str
) -> tuple[float, float | None, float | None]:
    """Subtract differences on two data sets; they share no users, so their errors add in square."""
    a, b, c, d = cell.rows
    one, two = tests.compare(dataset, b, a, cell.metric), tests.compare(other, d, c, cell.metric)
    estimate = one.difference - two.difference
    if one.low is None or one.high is None or two.low is None or two.high is None:
        return estimate, None, None
    reach = float(np.hypot(one.high - one.low, two.high - two.low)) / 2
    return estimate, estimate - reach, estimate + reach
