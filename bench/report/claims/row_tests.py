"""Verdicts on claims about rows, each with the numbers behind it: paired tests and intervals.

Measures have one value per seed and none per case; their differences are paired by seed, and a
verdict needs a t interval over two seeds or more.
"""

from __future__ import annotations

import numpy as np

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.claims import claim_types as forms
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Check
from bench.report.claims.runs import Runs, SeedValues, map_common_seeds
from bench.report.claims.verdict import Judgment, ReproducedVerdict, judge_interval, judge_side
from bench.report.format import format_interval, format_p, format_percent_interval
from bench.stats.compare import Comparison, correct_family
from bench.stats.contrasts import Estimate, difference_of_differences, estimate_relative
from bench.stats.seed_variance import SeedMean, estimate_over_seeds


def judge_row(check: Check, cell: Cell, runs: Runs) -> Judgment:
    """Judge a cell that is no member of a family of tests; all its rows have results."""
    match check:
        case forms.Close():
            return _judge_close(check, cell, runs)
        case forms.Gain():
            test = runs.compare(cell.card, cell.rows[1], cell.rows[0], cell.metric)
            return "shown", f"{format_comparison(test)}; shown, not tested"
        case forms.Position():
            return _judge_position(check, cell, runs)
        case forms.Value():
            return _show_value(check, cell, runs)
        case forms.Larger():
            return _judge_larger(check, cell, runs)
    return judge_by_seed(check, cell, runs)


def judge_by_seed(check: Check, cell: Cell, runs: Runs, sign: int = 1) -> Judgment:
    """Judge a cell by one value per seed; `sign` is -1 where lower values are better.

    Raises:
        BenchError: If the claim type needs per-case values, or no seed is common.
    """

    def read(row: str) -> SeedValues:
        return runs.seed_values(cell.card, row, cell.metric)

    match check:
        case forms.Better() | forms.NotBetter():
            rows = [read(row) for row in cell.rows[:2]]
            changes = map_common_seeds(rows, lambda values: values[0] - values[1])
            change = estimate_over_seeds(changes)
            verdict = judge_side(change.ends, sign)
            if isinstance(check, forms.NotBetter) and change.ends:
                verdict = "fails" if verdict == "holds" else "holds"
            text = format_over_seeds(change, len(changes))
            return verdict, f"{cell.rows[0]} against {cell.rows[1]}: {text}"
        case forms.Value():
            return _judge_seed_values(check, cell.rows[0], [*read(cell.rows[0]).values()])
        case forms.Show():
            mean = np.mean([*read(cell.rows[0]).values()])
            return "shown", f"{cell.rows[0]}: {mean:.4g}; the claim names no threshold"
    raise needs_cases(check, cell)


def needs_cases(check: Check, cell: Cell) -> BenchError:
    """Make the error of a claim type that cannot be judged by one value per seed."""
    return BenchError(
        f"{cell.metric} has one value per seed, which the claim type {check.form!r} cannot use.",  # type: ignore[attr-defined]
        "Use better, not_better, value, trend, level, range, diminishing or show.",
    )


def _judge_seed_values(check: forms.Value, row: str, values: list[float]) -> Judgment:
    mean = estimate_over_seeds(values)
    text = f"{row}: {format_over_seeds(mean, len(values))}"
    lowest, highest = [check.above, check.at_least], [check.at_most]
    if check.value is not None:
        if check.within is None:
            return "shown", f"{text}; claimed about {check.value:g}; shown, not tested"
        lowest.append(check.value - check.within)
        highest.append(check.value + check.within)
    low = max((bound for bound in lowest if bound is not None), default=-np.inf)
    high = min((bound for bound in highest if bound is not None), default=np.inf)
    verdict = judge_interval(mean.ends, low, high)
    return verdict, f"{text}; claimed between {low:g} and {high:g}"


def judge_pair(
    check: forms.Better | forms.NotBetter, cell: Cell, test: Comparison, runs: Runs
) -> Judgment:
    """Judge a pair by its test, corrected by Holm within its data set, metric and host."""
    text = format_comparison(test)
    if isinstance(check, forms.Better):
        if not test.significant or test.better is None:
            return "undecided", text
        return ("holds" if test.better else "fails"), text
    if test.question != "methods":
        return "undecided", text
    # Only a significant improvement refutes "not better"; one of up to tau is allowed.
    if not (test.significant and test.better):
        return "holds", text
    if not check.tau:
        return "fails", text
    change = _estimate_change(cell, runs)
    if change is None:
        return "undecided", text
    if change.methods is None:
        return "undecided", f"{text}; {change.refusal}"
    ends = _orient((change.methods.low, change.methods.high), cell.metric)
    return judge_interval(ends, -np.inf, check.tau), f"{text}; {format_change(change)}"


def judge_equivalence(change: Estimate | None, tau: float) -> Judgment:
    """Judge a relative difference by its interval: inside ± tau, outside, or across a bound.

    A test without a significant difference would not show equivalence.
    """
    if change is None:
        return "undecided", "no relative difference"
    ends = change.ends if change.methods else None
    return judge_interval(ends, -tau, tau), format_change(change)


def format_change(change: Estimate) -> str:
    """Format a relative difference and its interval, in percent."""
    text = f"{100 * change.value:+.1f} %"
    if change.ends:
        text += f", 95 % interval {format_percent_interval(*change.ends)}"
    return f"{text}; {change.refusal}" if change.refusal else text


def format_comparison(test: Comparison) -> str:
    """Format difference, relative difference, interval, p and corrected p in one line."""
    text = f"{test.other} against {test.reference}: {test.difference:+.4f}"
    if test.relative is not None:
        text += f" ({100 * test.relative:+.1f} %)"
    if test.p is not None:
        text += f", 95 % interval {format_interval(test.low, test.high)}, p {format_p(test.p)}"
        if test.family_size > 1:
            text += f" (Holm over {test.family_size}: {format_p(test.p_adjusted)})"
    return f"{text}; {test.refusal}" if test.refusal else text


def format_over_seeds(estimate: SeedMean, num_seeds: int) -> str:
    """Format a mean over seeds and its interval."""
    if estimate.ends is None:
        return f"{estimate.value:+.4g}, a single seed"
    interval = f"[{estimate.low:+.4g}, {estimate.high:+.4g}]"
    return f"{estimate.value:+.4g}, 95 % interval {interval} over {num_seeds} seeds"


def _estimate_change(cell: Cell, runs: Runs) -> Estimate | None:
    row, reference = (runs.samples[cell.card, name] for name in cell.rows[:2])
    return estimate_relative(reference, row, cell.metric)


def _orient(ends: tuple[float, float], metric: str) -> tuple[float, float]:
    """Return the ends of an interval in the metric's better direction."""
    return ends if get_metric(metric).higher_is_better else (-ends[1], -ends[0])


def _judge_close(check: forms.Close, cell: Cell, runs: Runs) -> Judgment:
    change = _estimate_change(cell, runs)
    verdict, text = judge_equivalence(change, check.tau)
    if change is not None:
        text = f"{cell.rows[0]} against {cell.rows[1]}: {text}, bounds ±{100 * check.tau:g} %"
    return verdict, text


def _judge_position(check: forms.Position, cell: Cell, runs: Runs) -> Judgment:
    """Judge a row's rank: by point values, and refuted only by tests.

    Rows that do not differ significantly are named as tied; one of exactly the same value leaves
    the rank undecided. With t rows significantly better, the rank is after t; with t significantly
    worse, it is before the last t.
    """
    row, *others = cell.rows
    num_rows = len(cell.rows)
    family = correct_family([runs.compare(cell.card, row, other, cell.metric) for other in others])
    num_better = sum(test.better is True for test in family)
    num_worse = sum(test.better is False for test in family)
    best, worst = forms.get_rank_range(check, num_rows)
    first = 1 + sum(bool(test.significant and test.better) for test in family)
    last = num_rows - sum(bool(test.significant and test.better is False) for test in family)
    verdict: ReproducedVerdict = "undecided"
    if first > worst or last < best:
        verdict = "fails"
    elif 1 + num_better >= best and num_rows - num_worse <= worst:
        verdict = "holds"
    text = f"{row} has rank {1 + num_better} of {num_rows}"
    if tied := [test.other for test in family if not test.significant]:
        text += f", tied with {', '.join(tied)}"
    return verdict, f"{text}; {'; '.join(map(format_comparison, family))}"


def _show_value(check: forms.Value, cell: Cell, runs: Runs) -> Judgment:
    """Show a value; with other data or another backbone a test of it would be meaningless."""
    mean = float(np.mean([*runs.seed_values(cell.card, cell.rows[0], cell.metric).values()]))
    words = {"value": "about", "above": "above", "at_least": "at least", "at_most": "at most"}
    bounds = {word: getattr(check, name) for name, word in words.items()}
    claimed = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    return "shown", (
        f"{cell.rows[0]}: {mean:.4f}, claimed {' and '.join(claimed)}; shown, not tested"
    )


def _judge_larger(check: forms.Larger, cell: Cell, runs: Runs) -> Judgment:
    """Judge whether a - b exceeds c - d in the metric's better direction."""
    if check.relative:
        return "shown", "relative changes are not tested"
    a, b, c, d = cell.rows
    card, other = cell.card, cell.row_cards[2]
    if other == card:
        samples = [runs.samples[card, row] for row in cell.rows]
        estimate = difference_of_differences(samples, cell.metric)
        value, refusal = estimate.value, estimate.refusal
        ends = estimate.ends if estimate.methods else None
    else:
        first = runs.compare(card, b, a, cell.metric)
        second = runs.compare(other, d, c, cell.metric)
        value, refusal = first.difference - second.difference, first.refusal or second.refusal
        ends = None if refusal else _subtract_intervals(first, second)
    if ends is None:
        return "undecided", f"{value:+.4f}; {refusal}"
    low, high = _orient(ends, cell.metric)
    value = value if get_metric(cell.metric).higher_is_better else -value
    where = "" if other == card else f" on {other}"
    return judge_side((low, high)), (
        f"({a} - {b}) against ({c} - {d}){where}, in the better direction: "
        f"{value:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]"
    )


def _subtract_intervals(first: Comparison, second: Comparison) -> tuple[float, float]:
    """Subtract differences on two data sets; as they share no users, squared margins add."""
    assert first.low is not None
    assert second.low is not None
    value = first.difference - second.difference
    margin = float(np.hypot(first.difference - first.low, second.difference - second.low))
    return value - margin, value + margin
