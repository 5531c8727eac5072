"""Verdicts on claims about a swept setting by per-case values: trends, peaks, levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import (
    Level,
    Peak,
    Trend,
)
from bench.report.claims.row_tests import format_comparison, judge_equivalence
from bench.report.claims.runs import Runs, Steps, map_common_seeds
from bench.report.claims.verdict import Judgment, ReproducedVerdict, judge_reproduced_cells
from bench.stats.compare import compare, compare_with_reference
from bench.stats.contrasts import estimate_relative
from bench.stats.corrections import ALPHA
from bench.stats.seed_variance import compute_seed_values

CaseSweep = Trend | Peak | Level


def judge_sweep(check: CaseSweep, cell: Cell, runs: Runs) -> Judgment:
    """Judge a cell whose rows have a result at each step of the sweep.

    Raises:
        BenchError: If there is a single step, a claimed one is missing, or no seed has all steps.
    """
    steps = _sort_steps(runs.sweeps[cell.card, cell.rows[0], check.x], check.x)
    match check:
        case Trend():
            return _judge_trend(check, cell, steps)
        case Peak():
            return _judge_peak(check, cell, steps)
        case Level():
            return _judge_level(check, cell, steps)


def _judge_trend(check: Trend, cell: Cell, steps: Steps) -> Judgment:
    """Judge by Spearman's ρ within every seed, and by a test of the largest x with the smallest."""
    xs = [x for x, _ in steps]
    sign = 1 if check.direction == "up" else -1
    rhos = [sign * rank_correlation(xs, values) for values in _values_by_seed(steps, cell.metric)]
    test = compare(steps[0][1], steps[-1][1], cell.metric)
    significant = test.question == "methods" and test.p is not None and test.p <= ALPHA
    change = sign * test.difference
    verdict: ReproducedVerdict = "undecided"
    if significant and change > 0 and all(rho > 0 for rho in rhos):
        verdict = "holds"
    elif significant and change < 0 and all(rho < 0 for rho in rhos):
        verdict = "fails"
    correlations = ", ".join(f"{sign * rho:+.2f}" for rho in rhos)
    return verdict, (
        f"ρ over {check.x} by seed: {correlations}; from {xs[0]:g} to {xs[-1]:g}, "
        f"{format_comparison(test)}"
    )


def _judge_peak(check: Peak, cell: Cell, steps: Steps) -> Judgment:
    """Judge a peak: best in most seeds, and significantly better than both neighbors."""
    index = _find_step(steps, check.at, check.x)
    best = max if get_metric(cell.metric).higher_is_better else min
    is_best = [values[index] == best(values) for values in _values_by_seed(steps, cell.metric)]
    neighbors = [steps[near][1] for near in (index - 1, index + 1) if 0 <= near < len(steps)]
    family = compare_with_reference(steps[index][1], neighbors, cell.metric)
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
    """Judge whether every step stays close to one of them."""
    base = steps[_find_step(steps, check.at, check.x)][1]
    verdicts, texts = [], []
    for x, sample in steps:
        if x != check.at:
            change = estimate_relative(base, sample, cell.metric)
            verdict, text = judge_equivalence(change, check.tau)
            verdicts.append(verdict)
            texts.append(f"{check.x} = {x:g}: {text}")
    return judge_reproduced_cells(verdicts, "all"), "; ".join(texts)


def rank_correlation(xs: Sequence[float], values: Sequence[float]) -> float:
    """Compute Spearman's ρ in [-1, 1]; 0 if the values do not vary."""
    ranks = [rankdata(xs), rankdata(values)]
    if any(len(set(column)) == 1 for column in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _sort_steps(steps: Steps, name: str) -> Steps:
    ordered = sorted(steps, key=lambda step: step[0])
    if len({x for x, _ in ordered}) < max(2, len(ordered)):
        raise BenchError(
            f"The sweep over {name} has {len(ordered)} steps, or one of them twice.",
            "A sweep needs at least two steps, each once.",
        )
    return ordered


def _find_step(steps: Steps, at: float, name: str) -> int:
    xs = [x for x, _ in steps]
    if at not in xs:
        available = ", ".join(f"{x:g}" for x in xs)
        raise BenchError(f"The sweep over {name} has no step {at:g}.", f"It has {available}.")
    return xs.index(at)


def _values_by_seed(steps: Steps, metric: str) -> list[list[float]]:
    """Return the metric over the steps, one list per seed that all of them have."""
    return map_common_seeds([compute_seed_values(sample, metric) for _, sample in steps], list)
