"""Verdicts on claims about a swept setting: trends, peaks, levels, ranges."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BenchError
from bench.report.claims import predicates
from bench.report.claims.cards import Cell
from bench.report.claims.change_intervals import estimate_relative
from bench.report.claims.claim_types import Level, Peak, Range, Trend, is_higher_better
from bench.report.claims.row_tests import judge_equivalence
from bench.report.claims.runs import Comparisons, ReproducedCell, Steps, format_comparison
from bench.report.claims.verdict import ReproducedVerdict
from bench.stats.compare import compare, compare_with_reference
from bench.stats.corrections import ALPHA
from bench.stats.seed_variance import compute_seed_values


def judge_trend(check: Trend, cell: Cell, tests: Comparisons, steps: Steps) -> ReproducedCell:
    """Judge a trend by Spearman's ρ within every seed, and by a test of the last against the first.

    The test compares the largest with the smallest x, uncorrected.
    """
    steps = _sort_steps(steps, check.x)
    xs = [x for x, _ in steps]
    sign = 1 if check.direction == "up" else -1
    rhos = [
        sign * predicates.rank_correlation(xs, values)
        for values in _values_by_seed(steps, cell.metric)
    ]
    test = compare(
        steps[0][1],
        steps[-1][1],
        cell.metric,
        num_resamples=tests.num_resamples,
        seed=tests.seed,
    )
    significant, change = test.p <= ALPHA, sign * test.difference
    verdict: ReproducedVerdict = "undecided"
    if significant and change > 0 and all(rho > 0 for rho in rhos):
        verdict = "holds"
    elif significant and change < 0 and all(rho < 0 for rho in rhos):
        verdict = "fails"
    correlations = ", ".join(f"{sign * rho:+.2f}" for rho in rhos)
    text = (
        f"ρ over {check.x} by seed: {correlations}; from {xs[0]:g} to {xs[-1]:g}, "
        f"{format_comparison(test)}"
    )
    return ReproducedCell(cell=cell, verdict=verdict, text=text)


def judge_peak(check: Peak, cell: Cell, tests: Comparisons, steps: Steps) -> ReproducedCell:
    """Judge a peak: best in most seeds, and significantly better than both neighbors."""
    steps = _sort_steps(steps, check.x)
    xs = [x for x, _ in steps]
    index = _find_step(xs, check.at, check.x)
    higher = is_higher_better(cell.metric)
    is_best = [
        predicates.peaks_at(dict(zip(xs, values, strict=True)), check.at, higher=higher)
        for values in _values_by_seed(steps, cell.metric)
    ]
    neighbors = [steps[near][1] for near in (index - 1, index + 1) if 0 <= near < len(steps)]
    family = compare_with_reference(
        steps[index][1],
        neighbors,
        cell.metric,
        num_resamples=tests.num_resamples,
        seed=tests.seed,
    )
    verdict: ReproducedVerdict = "undecided"
    if any(test.significant and test.better for test in family):
        verdict = "fails"
    elif 2 * sum(is_best) > len(is_best) and all(
        test.significant and test.better is False for test in family
    ):
        verdict = "holds"
    tested = "; ".join(map(format_comparison, family))
    text = f"best at {check.x} = {check.at:g} in {sum(is_best)} of {len(is_best)} seeds; {tested}"
    return ReproducedCell(cell=cell, verdict=verdict, text=text)


def judge_level(check: Level, cell: Cell, tests: Comparisons, steps: Steps) -> ReproducedCell:
    """Judge whether every step stays close to one of them."""
    steps = _sort_steps(steps, check.x)
    base = steps[_find_step([x for x, _ in steps], check.at, check.x)][1]
    verdicts: list[ReproducedVerdict] = []
    texts = []
    for x, sample in steps:
        if x == check.at:
            continue
        change = estimate_relative(base, sample, cell.metric, seed=tests.seed)
        verdicts.append("undecided" if change is None else judge_equivalence(change, check.tau))
        texts.append(f"{check.x} = {x:g}: {change.text if change else 'no relative difference'}")
    verdict: ReproducedVerdict = "undecided"
    if "fails" in verdicts:
        verdict = "fails"
    elif set(verdicts) == {"holds"}:
        verdict = "holds"
    return ReproducedCell(cell=cell, verdict=verdict, text="; ".join(texts))


def show_range(check: Range, cell: Cell, first: Steps, second: Steps) -> ReproducedCell:
    """Show the range of two rows' metrics over the steps; seeds are too few for a test."""
    ranges = []
    for steps in (first, second):
        values = _values_by_seed(_sort_steps(steps, check.x), cell.metric)
        ranges.append(sum(max(row) - min(row) for row in values) / len(values))
    text = (
        f"range over {check.x}, mean over seeds: {cell.rows[0]} {ranges[0]:.4f}, "
        f"{cell.rows[1]} {ranges[1]:.4f}; shown, not tested"
    )
    return ReproducedCell(cell=cell, verdict="shown", text=text)


def _sort_steps(steps: Steps, name: str) -> Steps:
    ordered = sorted(steps, key=lambda step: step[0])
    if len({x for x, _ in ordered}) < max(2, len(ordered)):
        raise BenchError(
            f"The sweep over {name} has {len(ordered)} steps, or one of them twice.",
            "A sweep needs at least two steps, each once.",
        )
    return ordered


def _find_step(xs: Sequence[float], at: float, name: str) -> int:
    if at not in xs:
        available = ", ".join(f"{x:g}" for x in xs)
        raise BenchError(f"The sweep over {name} has no step {at:g}.", f"It has {available}.")
    return list(xs).index(at)


def _values_by_seed(steps: Steps, metric: str) -> list[list[float]]:
    """Return the metric over the steps, one list per seed that all of them have."""
    values = [compute_seed_values(sample, metric) for _, sample in steps]
    seeds = sorted(set.intersection(*map(set, values)))
    if not seeds:
        raise BenchError(f"The steps of the sweep have no seed in common for {metric}.")
    return [[step[seed] for step in values] for seed in seeds]
