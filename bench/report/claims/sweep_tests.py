"""Verdicts on claims about a swept setting: trends, peaks, levels, ranges, diminishing gains.

Steps with per-case values are compared by tests over users and seeds. Measures, and metrics at
checkpoints, have one value per seed: they are compared by t intervals over two seeds or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Diminishing, Level, Peak, Range, SweepCheck, Trend
from bench.report.claims.row_tests import (
    format_comparison,
    format_over_seeds,
    judge_equivalence,
    needs_cases,
)
from bench.report.claims.runs import Runs, SeedValues, map_common_seeds
from bench.report.claims.verdict import (
    Judgment,
    ReproducedVerdict,
    judge_interval,
    judge_reproduced_cells,
    judge_side,
    relative_change,
)
from bench.stats.compare import compare, compare_with_reference
from bench.stats.contrasts import estimate_relative
from bench.stats.corrections import ALPHA
from bench.stats.samples import Sample
from bench.stats.seed_variance import estimate_over_seeds


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A metric of a row along the setting `x`, whose values are `xs`, ascending.

    Attributes:
        values: Of the metric by seed, one entry per step.
        samples: Likewise; empty where steps have one value per seed only.
    """

    x: str
    xs: Sequence[float]
    values: Sequence[SeedValues]
    samples: Sequence[Sample]

    @classmethod
    def read(cls, cell: Cell, runs: Runs, x: str, row: str = "") -> Steps:
        """Read the steps of a cell's first row, or of the named one."""
        key = (cell.card, row or cell.rows[0], x)
        steps = runs.sweep_values(*key, cell.metric)
        if len(steps) < 2:
            raise BenchError(f"The sweep over {x} has {len(steps)} steps.", "It needs two or more.")
        xs, values = zip(*steps, strict=True)
        samples = () if cell.metric in runs.measures else runs.sweep_samples(*key)
        return cls(x=x, xs=xs, values=values, samples=samples)

    def find(self, at: float) -> int:
        """Return the index of a step, or refuse one that the sweep does not have."""
        if at not in self.xs:
            available = ", ".join(f"{x:g}" for x in self.xs)
            raise BenchError(f"The sweep over {self.x} has no step {at:g}.", f"It has {available}.")
        return self.xs.index(at)


def judge_sweep(check: SweepCheck, cell: Cell, runs: Runs, sign: int) -> Judgment:
    """Judge a cell whose rows have a result at each step of the sweep.

    `sign` is -1 where lower values are better.

    Raises:
        BenchError: If there is a single step, a claimed one is missing, no seed has all steps, or
            the claim type needs per-case values.
    """
    steps = Steps.read(cell, runs, check.x)
    match check:
        case Trend():
            return _judge_trend(check, cell, steps)
        case Level():
            return _judge_level(check, cell, steps)
        case Range():
            return _show_range(check, cell, runs)
        case Diminishing():
            return _judge_diminishing(check, cell, runs, sign)
    if not steps.samples:
        raise needs_cases(check, cell)
    return _judge_peak(check, cell, steps)


def _judge_trend(check: Trend, cell: Cell, steps: Steps) -> Judgment:
    """Judge by Spearman's ρ within every seed, and by the change from the first to the last x."""
    sign = 1 if check.direction == "up" else -1
    rhos = map_common_seeds(steps.values, lambda values: rank_correlation(steps.xs, values))
    verdict: ReproducedVerdict = "undecided"
    if steps.samples:
        test = compare(steps.samples[0], steps.samples[-1], cell.metric)
        if test.question == "methods" and test.p is not None and test.p <= ALPHA:
            verdict = "holds" if sign * test.difference > 0 else "fails"
        text = format_comparison(test)
    else:
        changes = map_common_seeds([steps.values[0], steps.values[-1]], lambda v: v[1] - v[0])
        change = estimate_over_seeds(changes)
        verdict = judge_side(change.ends, sign)
        text = f"{cell.rows[0]}: {format_over_seeds(change, len(changes))}"
    expected = sign if verdict == "holds" else -sign
    if any(expected * rho <= 0 for rho in rhos):
        verdict = "undecided"
    correlations = ", ".join(f"{rho:+.2f}" for rho in rhos)
    return verdict, (
        f"ρ over {check.x} by seed: {correlations}; from {steps.xs[0]:g} to {steps.xs[-1]:g}, "
        f"{text}"
    )


def rank_correlation(xs: Sequence[float], values: Sequence[float]) -> float:
    """Compute Spearman's ρ in [-1, 1]; 0 if the values do not vary."""
    ranks = [rankdata(xs), rankdata(values)]
    if any(len(set(column)) == 1 for column in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _judge_peak(check: Peak, cell: Cell, steps: Steps) -> Judgment:
    """Judge a peak: best in most seeds, and significantly better than both neighbors."""
    index = steps.find(check.at)
    best = max if get_metric(cell.metric).higher_is_better else min
    is_best = map_common_seeds(steps.values, lambda values: values[index] == best(values))
    neighbors = [steps.samples[at] for at in (index - 1, index + 1) if 0 <= at < len(steps.xs)]
    family = compare_with_reference(steps.samples[index], neighbors, cell.metric)
    verdict: ReproducedVerdict = "undecided"
    if any(test.significant and test.better for test in family):
        verdict = "fails"
    elif 2 * sum(is_best) > len(is_best) and all(
        test.significant and test.better is False for test in family
    ):
        verdict = "holds"
    tested = "; ".join(map(format_comparison, family))
    return verdict, (
        f"best at {check.x} = {check.at:g} in {sum(is_best)} of {len(is_best)} seeds; {tested}"
    )


def _judge_level(check: Level, cell: Cell, steps: Steps) -> Judgment:
    """Judge whether every step stays close to one of them, by intervals of relative changes."""
    base = steps.find(check.at)
    judged: dict[float, Judgment] = {}
    for index, x in enumerate(steps.xs):
        if index == base:
            continue
        if steps.samples:
            change = estimate_relative(steps.samples[base], steps.samples[index], cell.metric)
            judged[x] = judge_equivalence(change, check.tau)
            continue
        changes = map_common_seeds(
            [steps.values[index], steps.values[base]], lambda pair: relative_change(*pair)
        )
        judged[x] = "undecided", f"no relative change, as {check.at:g} has 0"
        if np.isfinite(changes).all():
            mean = estimate_over_seeds(changes)
            text = f"relative change {format_over_seeds(mean, len(changes))}"
            judged[x] = judge_interval(mean.ends, -check.tau, check.tau), text
    verdict = judge_reproduced_cells([verdict for verdict, _ in judged.values()], "all")
    return verdict, "; ".join(f"{check.x} = {x:g}: {text}" for x, (_, text) in judged.items())


def _show_range(check: Range, cell: Cell, runs: Runs) -> Judgment:
    """Show the range of two rows' metrics over the steps; seeds are too few for a test."""
    texts = []
    for row in cell.rows:
        steps = Steps.read(cell, runs, check.x, row)
        ranges = map_common_seeds(steps.values, lambda values: max(values) - min(values))
        texts.append(f"{row} {np.mean(ranges):.4f}")
    return "shown", (
        f"range over {check.x}, mean over seeds: {', '.join(texts)}; shown, not tested"
    )


def _judge_diminishing(check: Diminishing, cell: Cell, runs: Runs, sign: int) -> Judgment:
    """Judge whether the metric gains less per unit of a measure beyond a step than up to it."""
    steps = runs.sweep_values(cell.card, cell.rows[0], check.x, cell.metric)
    costs = dict(runs.sweep_values(cell.card, cell.rows[0], check.x, check.per))
    xs = [x for x, _ in steps]
    if check.at not in xs[1:-1]:
        raise BenchError(f"The sweep over {check.x} has no steps on both sides of {check.at:g}.")
    index = xs.index(check.at)
    near = [(steps[at][1], costs[xs[at]]) for at in (index - 1, index, index + 1)]

    def slow_down(values: Sequence[float]) -> float:
        points = list(zip(values[::2], values[1::2], strict=True))
        before, after = (
            sign * (end[0] - start[0]) / (end[1] - start[1]) if end[1] != start[1] else 0.0
            for start, end in pairwise(points)
        )
        return before - after

    changes = map_common_seeds([values for pair in near for values in pair], slow_down)
    change = estimate_over_seeds(changes)
    return judge_side(change.ends), (
        f"gain per {check.per} up to {check.x} = {check.at:g} less the gain beyond: "
        f"{format_over_seeds(change, len(changes))}"
    )
