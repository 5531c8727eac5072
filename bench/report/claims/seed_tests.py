"""Verdicts from one value per seed: measures, and metrics at checkpoints, have no per-case values.

Differences are paired by seed; a verdict needs a t interval over two seeds or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bench.errors import BenchError
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import (
    Better,
    Check,
    Diminishing,
    Level,
    NotBetter,
    Range,
    Show,
    Trend,
    Value,
)
from bench.report.claims.runs import Runs, map_common_seeds
from bench.report.claims.sweep_tests import rank_correlation
from bench.report.claims.verdict import (
    ROUNDING,
    Judgment,
    ReproducedVerdict,
    judge_reproduced_cells,
    relative_change,
)
from bench.stats.seed_variance import SeedMean, estimate_over_seeds


def judge_by_seed(check: Check, cell: Cell, runs: Runs, *, higher_is_better: bool) -> Judgment:
    """Judge a cell by one value per seed.

    Raises:
        BenchError: If the claim type needs per-case values, or no seed is common.
    """
    match check:
        case Better() | NotBetter():
            return _judge_pair(check, cell, runs, 1 if higher_is_better else -1)
        case Value():
            return _judge_value(check, cell, runs)
        case Trend():
            return _judge_trend(check, cell, runs)
        case Level():
            return _judge_level(check, cell, runs)
        case Range():
            return _show_range(check, cell, runs)
        case Diminishing():
            return _judge_diminishing(check, cell, runs, 1 if higher_is_better else -1)
        case Show():
            values = runs.seed_values(cell.card, cell.rows[0], cell.metric)
            mean = np.mean([*values.values()])
            return "shown", f"{cell.rows[0]}: {mean:.4g}; the claim names no threshold"
    raise BenchError(
        f"{cell.metric} has one value per seed, which the claim type {check.form!r} cannot use.",  # type: ignore[attr-defined]
        "Use better, not_better, value, trend, level, range, diminishing or show.",
    )


def format_over_seeds(estimate: SeedMean, num_seeds: int) -> str:
    """Format a mean over seeds and its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.4g}, a single seed"
    interval = f"[{estimate.low:+.4g}, {estimate.high:+.4g}]"
    return f"{estimate.value:+.4g}, 95 % interval {interval} over {num_seeds} seeds"


def _judge_pair(check: Better | NotBetter, cell: Cell, runs: Runs, sign: int) -> Judgment:
    row, other = (runs.seed_values(cell.card, name, cell.metric) for name in cell.rows[:2])
    changes = map_common_seeds([row, other], lambda values: values[0] - values[1])
    estimate = estimate_over_seeds(changes)
    text = f"{cell.rows[0]} against {cell.rows[1]}: {format_over_seeds(estimate, len(changes))}"
    verdict = _verdict(estimate, sign)
    if isinstance(check, NotBetter) and estimate.low is not None:
        verdict = "fails" if verdict == "holds" else "holds"
    return verdict, text


def _judge_value(check: Value, cell: Cell, runs: Runs) -> Judgment:
    """Judge bounds by the interval of the mean over seeds: inside, outside or across them."""
    values = [*runs.seed_values(cell.card, cell.rows[0], cell.metric).values()]
    estimate = estimate_over_seeds(values)
    text = f"{cell.rows[0]}: {format_over_seeds(estimate, len(values))}"
    if check.value is not None and check.within is None:
        return "shown", f"{text}; claimed about {check.value:g}; shown, not tested"
    lowest = [check.above, check.at_least]
    highest = [check.at_most]
    if check.value is not None and check.within is not None:
        lowest.append(check.value - check.within)
        highest.append(check.value + check.within)
    low = max((bound for bound in lowest if bound is not None), default=-np.inf)
    high = min((bound for bound in highest if bound is not None), default=np.inf)
    text += f"; claimed between {low:g} and {high:g}"
    return _compare_with_bounds(estimate, low, high), text


def _judge_level(check: Level, cell: Cell, runs: Runs) -> Judgment:
    """Judge by the intervals of the relative changes from one step to each other one."""
    steps = dict(runs.sweep_values(cell.card, cell.rows[0], check.x, cell.metric))
    if check.at not in steps:
        raise BenchError(f"The sweep over {check.x} has no step {check.at:g}.")
    verdicts: list[ReproducedVerdict] = []
    texts = []
    for x, values in steps.items():
        if x != check.at:
            changes = map_common_seeds(
                [values, steps[check.at]], lambda pair: relative_change(pair[0], pair[1])
            )
            if not np.isfinite(changes).all():
                verdicts.append("undecided")
                texts.append(f"{check.x} = {x:g}: no relative change, as {check.at:g} has 0")
                continue
            estimate = estimate_over_seeds(changes)
            verdicts.append(_compare_with_bounds(estimate, -check.tau, check.tau))
            text = format_over_seeds(estimate, len(changes))
            texts.append(f"{check.x} = {x:g}: relative change {text}")
    return judge_reproduced_cells(verdicts, "all"), "; ".join(texts)


def _compare_with_bounds(estimate: SeedMean, low: float, high: float) -> ReproducedVerdict:
    """Tell whether an interval lies inside bounds, outside, or across one of them."""
    if estimate.low is None or estimate.high is None:
        return "undecided"
    if low - ROUNDING <= estimate.low and estimate.high <= high + ROUNDING:
        return "holds"
    outside = estimate.high < low - ROUNDING or estimate.low > high + ROUNDING
    return "fails" if outside else "undecided"


def _judge_trend(check: Trend, cell: Cell, runs: Runs) -> Judgment:
    """Judge by Spearman's ρ within every seed, and by the change from the first to the last x."""
    steps = runs.sweep_values(cell.card, cell.rows[0], check.x, cell.metric)
    xs = [x for x, _ in steps]
    if len(xs) < 2:
        raise BenchError(f"The sweep over {check.x} has {len(xs)} steps.", "It needs two or more.")
    sign = 1 if check.direction == "up" else -1
    rhos = map_common_seeds(
        [values for _, values in steps], lambda values: sign * rank_correlation(xs, values)
    )
    changes = map_common_seeds([steps[0][1], steps[-1][1]], lambda values: values[1] - values[0])
    estimate = estimate_over_seeds(changes)
    verdict = _verdict(estimate, sign)
    if not (min(rhos) > 0 or max(rhos) < 0):
        verdict = "undecided"
    correlations = ", ".join(f"{sign * rho:+.2f}" for rho in rhos)
    return verdict, (
        f"ρ over {check.x} by seed: {correlations}; from {xs[0]:g} to {xs[-1]:g}, "
        f"{cell.rows[0]}: {format_over_seeds(estimate, len(changes))}"
    )


def _show_range(check: Range, cell: Cell, runs: Runs) -> Judgment:
    """Show the range of two rows' metrics over the steps; seeds are too few for a test."""
    texts = []
    for row in cell.rows:
        steps = runs.sweep_values(cell.card, row, check.x, cell.metric)
        ranges = map_common_seeds(
            [values for _, values in steps], lambda values: max(values) - min(values)
        )
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
    estimate = estimate_over_seeds(changes)
    return _verdict(estimate, 1), (
        f"gain per {check.per} up to {check.x} = {check.at:g} less the gain beyond: "
        f"{format_over_seeds(estimate, len(changes))}"
    )


def _verdict(estimate: SeedMean, sign: int) -> ReproducedVerdict:
    """Judge whether an interval is on the side of the sign, on the other, or covers 0."""
    if estimate.low is None or estimate.high is None or estimate.low <= 0 <= estimate.high:
        return "undecided"
    return "holds" if (estimate.low > 0) == (sign > 0) else "fails"
