"""Verdicts on claims about rows: paired tests, corrected by Holm within a data set and metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.report.claims.cards import Cell
from bench.report.claims.change_intervals import RelativeDifference, estimate_relative
from bench.report.claims.claim_types import (
    Better,
    Close,
    Gain,
    NotBetter,
    Pair,
    Position,
    Value,
    get_rank_range,
    is_higher_better,
)
from bench.report.claims.runs import Comparisons, ReproducedCell, format_comparison
from bench.report.claims.verdict import ReproducedVerdict
from bench.stats.compare import Comparison, correct_family
from bench.stats.seed_variance import compute_seed_values


def judge_pairs(
    check: Pair, cells: Sequence[Cell], tests: Comparisons, dataset: str
) -> list[ReproducedCell]:
    """Judge the pairs of one data set, metric and host; they are one family of tests.

    Args:
        check: better, not_better, close or gain.
        cells: Its cells, all rows with results.
        tests: Of our results.
        dataset: Name of the data set's card.
    """
    if isinstance(check, Close):
        return [_judge_close(check, cell, tests, dataset) for cell in cells]
    family = [tests.compare(dataset, cell.rows[1], cell.rows[0], cell.metric) for cell in cells]
    judged = []
    for cell, test, raw in zip(cells, correct_family(family), family, strict=True):
        text = format_comparison(test)
        if isinstance(check, NotBetter):
            judged.append(_judge_not_better(check, cell, test, tests, dataset))
        elif isinstance(check, Gain):
            text = f"{format_comparison(raw)}; shown, not tested"
            judged.append(ReproducedCell(cell=cell, verdict="shown", text=text))
        else:
            assert isinstance(check, Better)
            judged.append(ReproducedCell(cell=cell, verdict=_judge_better(test), text=text))
    return judged


def _judge_better(test: Comparison) -> ReproducedVerdict:
    if not test.significant or test.better is None:
        return "undecided"
    return "holds" if test.better else "fails"


def _judge_not_better(
    check: NotBetter, cell: Cell, test: Comparison, tests: Comparisons, dataset: str
) -> ReproducedCell:
    """Only a significant improvement refutes the claim; one of up to tau is allowed."""
    text = format_comparison(test)
    if not (test.significant and test.better):
        return ReproducedCell(cell=cell, verdict="holds", text=text)
    if not check.tau:
        return ReproducedCell(cell=cell, verdict="fails", text=text)
    change = _estimate_change(cell, tests, dataset)
    if change is None:
        return ReproducedCell(cell=cell, verdict="undecided", text=text)
    low, high = change.low, change.high
    if not is_higher_better(cell.metric):
        low, high = -high, -low
    verdict: ReproducedVerdict = (
        "holds" if high <= check.tau else "fails" if low > check.tau else "undecided"
    )
    return ReproducedCell(cell=cell, verdict=verdict, text=f"{text}; {change.text}")


def _judge_close(check: Close, cell: Cell, tests: Comparisons, dataset: str) -> ReproducedCell:
    """Test equivalence by the interval; a test without a significant difference shows none."""
    change = _estimate_change(cell, tests, dataset)
    if change is None:
        return ReproducedCell(cell=cell, verdict="undecided", text="no relative difference")
    return ReproducedCell(
        cell=cell,
        verdict=judge_equivalence(change, check.tau),
        text=f"{cell.rows[0]} against {cell.rows[1]}: {change.text}, bounds ±{100 * check.tau:g} %",
    )


def judge_equivalence(change: RelativeDifference, tau: float) -> ReproducedVerdict:
    """Judge an interval against the bounds ± tau: inside, outside, or across one of them."""
    if change.is_within(tau):
        return "holds"
    return "fails" if change.is_beyond(tau) else "undecided"


def _estimate_change(cell: Cell, tests: Comparisons, dataset: str) -> RelativeDifference | None:
    row, reference = (tests.get_sample(dataset, name) for name in cell.rows[:2])
    return estimate_relative(reference, row, cell.metric, seed=tests.seed)


def judge_position(check: Position, cell: Cell, tests: Comparisons, dataset: str) -> ReproducedCell:
    """Judge a row's rank: by point values, and refuted only by tests.

    Rows that do not differ significantly are named as tied; one of exactly the same value leaves
    the rank undecided. With t rows significantly better, the rank is after t; with t significantly
    worse, it is before the last t.
    """
    row, *others = cell.rows
    num_rows = len(cell.rows)
    family = correct_family([tests.compare(dataset, row, other, cell.metric) for other in others])
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
    tested = "; ".join(map(format_comparison, family))
    return ReproducedCell(cell=cell, verdict=verdict, text=f"{text}; {tested}")


def show_value(check: Value, cell: Cell, tests: Comparisons, dataset: str) -> ReproducedCell:
    """Show a value; with other data or another backbone a test of it would be meaningless."""
    sample = tests.get_sample(dataset, cell.rows[0])
    mean = float(np.mean(list(compute_seed_values(sample, cell.metric).values())))
    bounds = {
        "about": check.value,
        "above": check.above,
        "at least": check.at_least,
        "at most": check.at_most,
    }
    claimed = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    text = f"{cell.rows[0]}: {mean:.4f}, claimed {' and '.join(claimed)}; shown, not tested"
    return ReproducedCell(cell=cell, verdict="shown", text=text)
