"""Verdicts on claims about rows, each with the numbers behind it: paired tests and intervals."""

from __future__ import annotations

import numpy as np

from bench.metrics.registry import get_metric
from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import (
    Better,
    Close,
    Gain,
    Larger,
    NotBetter,
    Position,
    Value,
    get_rank_range,
)
from bench.report.claims.runs import Runs
from bench.report.claims.verdict import ROUNDING, Judgment, ReproducedVerdict
from bench.report.format import format_interval, format_p, format_percent_interval
from bench.stats.compare import Comparison, correct_family
from bench.stats.contrasts import Estimate, difference_of_differences, estimate_relative
from bench.stats.seed_variance import compute_seed_values

RowCheck = Close | Gain | Position | Value | Larger


def judge_row(check: RowCheck, cell: Cell, runs: Runs) -> Judgment:
    """Judge a cell that is no member of a family of tests; all its rows have results."""
    match check:
        case Close():
            return _judge_close(check, cell, runs)
        case Gain():
            test = runs.compare(cell.card, cell.rows[1], cell.rows[0], cell.metric)
            return "shown", f"{format_comparison(test)}; shown, not tested"
        case Position():
            return _judge_position(check, cell, runs)
        case Value():
            return _show_value(check, cell, runs)
        case Larger():
            return _judge_larger(check, cell, runs)


def judge_pair(check: Better | NotBetter, cell: Cell, test: Comparison, runs: Runs) -> Judgment:
    """Judge a pair by its test, corrected by Holm within its data set, metric and host."""
    text = format_comparison(test)
    if isinstance(check, Better):
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
    low, high = _orient((change.methods.low, change.methods.high), cell.metric)
    verdict: ReproducedVerdict = (
        "holds" if high <= check.tau else "fails" if low > check.tau else "undecided"
    )
    return verdict, f"{text}; {format_change(change)}"


def judge_equivalence(change: Estimate | None, tau: float) -> tuple[ReproducedVerdict, str]:
    """Judge a relative difference by its interval: inside ± tau, outside, or across a bound.

    A test without a significant difference would not show equivalence.
    """
    if change is None:
        return "undecided", "no relative difference"
    if change.methods is None:
        return "undecided", format_change(change)
    bound = tau + ROUNDING
    verdict: ReproducedVerdict = "undecided"
    if -bound <= change.methods.low and change.methods.high <= bound:
        verdict = "holds"
    elif change.methods.low > bound or change.methods.high < -bound:
        verdict = "fails"
    return verdict, format_change(change)


def format_change(change: Estimate) -> str:
    """Format a relative difference and its interval, in percent."""
    interval = change.answer
    text = f"{100 * change.value:+.1f} %"
    if interval is not None:
        text += f", 95 % interval {format_percent_interval(interval.low, interval.high)}"
    return f"{text}; {change.refusal}" if change.refusal else text


def format_comparison(test: Comparison) -> str:
    """Format difference, relative difference, interval, p and corrected p in one line."""
    relative = "" if test.relative is None else f" ({100 * test.relative:+.1f} %)"
    interval = ""
    if test.p is not None:
        interval = f", 95 % interval {format_interval(test.low, test.high)}, p {format_p(test.p)}"
        if test.family_size > 1:
            interval += f" (Holm over {test.family_size}: {format_p(test.p_adjusted)})"
    refusal = f"; {test.refusal}" if test.refusal else ""
    return (
        f"{test.other} against {test.reference}: {test.difference:+.4f}{relative}{interval}"
        f"{refusal}"
    )


def _estimate_change(cell: Cell, runs: Runs) -> Estimate | None:
    row, reference = (runs.samples[cell.card, name] for name in cell.rows[:2])
    return estimate_relative(reference, row, cell.metric)


def _orient(ends: tuple[float, float], metric: str) -> tuple[float, float]:
    """Return the ends of an interval in the metric's better direction."""
    return ends if get_metric(metric).higher_is_better else (-ends[1], -ends[0])


def _judge_close(check: Close, cell: Cell, runs: Runs) -> Judgment:
    change = _estimate_change(cell, runs)
    verdict, text = judge_equivalence(change, check.tau)
    if change is None:
        return verdict, text
    return verdict, (
        f"{cell.rows[0]} against {cell.rows[1]}: {text}, bounds ±{100 * check.tau:g} %"
    )


def _judge_position(check: Position, cell: Cell, runs: Runs) -> Judgment:
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
    best, worst = get_rank_range(check, num_rows)
    first = 1 + sum(bool(test.significant and test.better) for test in family)
    last = num_rows - sum(bool(test.significant and test.better is False) for test in family)
    verdict: ReproducedVerdict = "undecided"
    if first > worst or last < best:
        verdict = "fails"
    elif 1 + num_better >= best and num_rows - num_worse <= worst:
        verdict = "holds"
    tied = [test.other for test in family if not test.significant]
    text = f"{row} has rank {1 + num_better} of {num_rows}"
    if tied:
        text += f", tied with {', '.join(tied)}"
    return verdict, f"{text}; {'; '.join(map(format_comparison, family))}"


def _show_value(check: Value, cell: Cell, runs: Runs) -> Judgment:
    """Show a value; with other data or another backbone a test of it would be meaningless."""
    sample = runs.samples[cell.card, cell.rows[0]]
    mean = float(np.mean(list(compute_seed_values(sample, cell.metric).values())))
    bounds = {
        "about": check.value,
        "above": check.above,
        "at least": check.at_least,
        "at most": check.at_most,
    }
    claimed = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    return "shown", (
        f"{cell.rows[0]}: {mean:.4f}, claimed {' and '.join(claimed)}; shown, not tested"
    )


def _judge_larger(check: Larger, cell: Cell, runs: Runs) -> Judgment:
    """Judge whether a - b exceeds c - d in the metric's better direction."""
    if check.relative:
        return "shown", "relative changes are not tested"
    a, b, c, d = cell.rows
    card, other = cell.card, cell.row_cards[2]
    if other == card:
        samples = [runs.samples[card, row] for row in cell.rows]
        estimate = difference_of_differences(samples, cell.metric)
        value, refusal, answer = estimate.value, estimate.refusal, estimate.methods
        ends = (answer.low, answer.high) if answer else None
    else:
        first = runs.compare(card, b, a, cell.metric)
        second = runs.compare(other, d, c, cell.metric)
        value, refusal = first.difference - second.difference, first.refusal or second.refusal
        ends = None if refusal else _subtract_intervals(first, second)
    if ends is None:
        return "undecided", f"{value:+.4f}; {refusal}"
    low, high = _orient(ends, cell.metric)
    value = value if get_metric(cell.metric).higher_is_better else -value
    verdict: ReproducedVerdict = "holds" if low > 0 else "fails" if high < 0 else "undecided"
    where = "" if other == card else f" on {other}"
    return verdict, (
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
