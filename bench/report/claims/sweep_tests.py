"""Verdicts on forms along a swept setting: trends, peaks, levels, ranges."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BenchError
from bench.report.claims import predicates
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Level, Peak, Range, Trend
from bench.report.claims.measures import higher_is_better
from bench.report.claims.relative_intervals import relative
from bench.report.claims.row_tests import equivalence
from bench.report.claims.runs import Comparisons, Finding, Steps, numbers
from bench.report.claims.verdict import Ours
from bench.stats.compare import ALPHA, against_reference, compare
from bench.stats.seed_variance import by_seed


def trend(check: Trend, cell: Cell, tests: Comparisons, steps: Steps) -> Finding:
    """Judge a trend by Spearman's ρ within every seed, and by a test of the last x on the first."""
    steps = _in_order(steps, check.x)
    values = _by_seed(steps, cell.metric)
    xs = [x for x, _ in steps]
    sign = 1 if check.direction == "up" else -1
    rhos = [sign * predicates.spearman(xs, of_seed) for of_seed in values]
    ends = compare(
        steps[0][1],
        steps[-1][1],
        cell.metric,
        num_resamples=tests.num_resamples,
        seed=tests.seed,
    )
    significant, moved = ends.p <= ALPHA, sign * ends.difference
    verdict: Ours = "undecided"
    if significant and moved > 0 and all(rho > 0 for rho in rhos):
        verdict = "holds"
    elif significant and moved < 0 and all(rho < 0 for rho in rhos):
        verdict = "fails"
    shown = ", ".join(f"{sign * rho:+.2f}" for rho in rhos)
    text = f"ρ over {check.x} by seed: {shown}; from {xs[0]:g} to {xs[-1]:g}, {numbers(ends)}"
    return Finding(cell=cell, verdict=verdict, text=text)


def peak(check: Peak, cell: Cell, tests: Comparisons, steps: Steps) -> Finding:
    """Judge a peak: best in most seeds, and significantly better than both neighbors."""
    steps = _in_order(steps, check.x)
    xs = [x for x, _ in steps]
    place = _place(xs, check.at, check.x)
    higher = higher_is_better(cell.metric)
    hits = [
        predicates.peaks_at(dict(zip(xs, values, strict=True)), check.at, higher=higher)
        for values in _by_seed(steps, cell.metric)
    ]
    neighbors = [steps[near][1] for near in (place - 1, place + 1) if 0 <= near < len(steps)]
    family = against_reference(
        steps[place][1],
        neighbors,
        cell.metric,
        num_resamples=tests.num_resamples,
        seed=tests.seed,
    )
    verdict: Ours = "undecided"
    if any(one.significant and one.better for one in family):
        verdict = "fails"
    elif 2 * sum(hits) > len(hits) and all(
        one.significant and one.better is False for one in family
    ):
        verdict = "holds"
    tested = "; ".join(numbers(one) for one in family)
    text = f"best at {check.x} = {check.at:g} in {sum(hits)} of {len(hits)} seeds; {tested}"
    return Finding(cell=cell, verdict=verdict, text=text)


def level(check: Level, cell: Cell, tests: Comparisons, steps: Steps) -> Finding:
    """Judge whether every step stays close to one of them."""
    steps = _in_order(steps, check.x)
    base = steps[_place([x for x, _ in steps], check.at, check.x)][1]
    verdicts: list[Ours] = []
    texts = []
    for x, sample in steps:
        if x == check.at:
            continue
        found = relative(base, sample, cell.metric, seed=tests.seed)
        verdicts.append("undecided" if found is None else equivalence(found, check.tau))
        texts.append(f"{check.x} = {x:g}: {found.text if found else 'no relative difference'}")
    verdict: Ours = "undecided"
    if "fails" in verdicts:
        verdict = "fails"
    elif all(one == "holds" for one in verdicts):
        verdict = "holds"
    return Finding(cell=cell, verdict=verdict, text="; ".join(texts))


def spread(check: Range, cell: Cell, first: Steps, second: Steps) -> Finding:
    """Show how far two rows' metrics range over the steps; seeds are too few for a test."""
    reaches = []
    for steps in (first, second):
        values = _by_seed(_in_order(steps, check.x), cell.metric)
        reaches.append(sum(max(one) - min(one) for one in values) / len(values))
    text = (
        f"range over {check.x}, mean over seeds: {cell.rows[0]} {reaches[0]:.4f}, "
        f"{cell.rows[1]} {reaches[1]:.4f}; shown, not tested"
    )
    return Finding(cell=cell, verdict="shown", text=text)


def _in_order(steps: Steps, name: str) -> Steps:
    ordered = sorted(steps, key=lambda step: step[0])
    if len({x for x, _ in ordered}) < max(2, len(ordered)):
        raise BenchError(
            f"The sweep over {name} has {len(ordered)} steps, or one of them twice.",
            "A sweep has at least two steps, each once.",
        )
    return ordered


def _place(xs: Sequence[float], at: float, name: str) -> int:
    if at not in xs:
        known = ", ".join(f"{x:g}" for x in xs)
        raise BenchError(f"The sweep over {name} has no step {at:g}.", f"It has {known}.")
    return list(xs).index(at)


def _by_seed(steps: Steps, metric: str) -> list[list[float]]:
    """Return the metric along the steps, one list for each seed that all of them have."""
    values = [by_seed(sample, metric) for _, sample in steps]
    seeds = sorted(set.intersection(*(set(one) for one in values)))
    if not seeds:
        raise BenchError(f"The steps of the sweep have no seed in common for {metric}.")
    return [[one[seed] for one in values] for seed in seeds]
