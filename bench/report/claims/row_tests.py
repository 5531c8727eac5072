"""Verdicts on forms about rows: paired tests, corrected by Holm within a data set and metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.report.claims.cards import Cell
from bench.report.claims.claim_types import Better, Close, Gain, NotBetter, Pair, Position, Value
from bench.report.claims.measures import higher_is_better
from bench.report.claims.relative_intervals import Relative, relative
from bench.report.claims.runs import Comparisons, Finding, numbers
from bench.report.claims.verdict import Ours
from bench.stats.compare import Comparison
from bench.stats.corrections import holm
from bench.stats.seed_variance import by_seed


def pairs(check: Pair, cells: Sequence[Cell], tests: Comparisons, dataset: str) -> list[Finding]:
    """Judge the pairs of one data set, metric and host; they are one family of tests.

    Args:
        check: better, not_better, close or gain.
        cells: Its cells, all rows present.
        tests: Of the runs.
        dataset: Name of the data set's card.
    """
    if isinstance(check, Close):
        return [_close(check, cell, tests, dataset) for cell in cells]
    found = [tests.compare(dataset, cell.rows[1], cell.rows[0], cell.metric) for cell in cells]
    if isinstance(check, Gain):
        texts = [f"{numbers(one)}; shown, not tested" for one in found]
        return [
            Finding(cell=cell, verdict="shown", text=text)
            for cell, text in zip(cells, texts, strict=True)
        ]
    findings = []
    for cell, one in zip(cells, corrected(found), strict=True):
        if isinstance(check, Better):
            findings.append(Finding(cell=cell, verdict=_better(one), text=numbers(one)))
        else:
            assert isinstance(check, NotBetter)
            findings.append(_not_better(check, cell, one, tests, dataset))
    return findings


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """Correct a family by Holm; its comparisons may have different references."""
    adjusted = holm([one.p for one in family])
    return [
        replace(one, p_adjusted=p, family_size=len(family))
        for one, p in zip(family, adjusted, strict=True)
    ]


def _better(one: Comparison) -> Ours:
    if not one.significant or one.better is None:
        return "undecided"
    return "holds" if one.better else "fails"


def _not_better(
    check: NotBetter, cell: Cell, one: Comparison, tests: Comparisons, dataset: str
) -> Finding:
    """Only a significant improvement speaks against it; up to tau is allowed."""
    if not (one.significant and one.better):
        return Finding(cell=cell, verdict="holds", text=numbers(one))
    if not check.tau:
        return Finding(cell=cell, verdict="fails", text=numbers(one))
    found = _relative(cell, tests, dataset)
    if found is None:
        return Finding(cell=cell, verdict="undecided", text=numbers(one))
    low, high = found.low, found.high
    if not higher_is_better(cell.metric):
        low, high = -high, -low
    verdict: Ours = "holds" if high <= check.tau else "fails" if low > check.tau else "undecided"
    return Finding(cell=cell, verdict=verdict, text=f"{numbers(one)}; {found.text}")


def _close(check: Close, cell: Cell, tests: Comparisons, dataset: str) -> Finding:
    """Equivalence: never concluded from a test that finds no difference."""
    found = _relative(cell, tests, dataset)
    if found is None:
        return Finding(cell=cell, verdict="undecided", text="no relative difference")
    return Finding(
        cell=cell,
        verdict=equivalence(found, check.tau),
        text=f"{cell.rows[0]} against {cell.rows[1]}: {found.text}, bounds ±{100 * check.tau:g} %",
    )


def equivalence(found: Relative, tau: float) -> Ours:
    """Judge an interval against bounds: inside, outside, or across one of them."""
    if found.within(tau):
        return "holds"
    return "fails" if found.beyond(tau) else "undecided"


def _relative(cell: Cell, tests: Comparisons, dataset: str) -> Relative | None:
    row, reference = (tests.sample(dataset, name) for name in cell.rows[:2])
    return relative(reference, row, cell.metric, seed=tests.seed)


def position(check: Position, cell: Cell, tests: Comparisons, dataset: str) -> Finding:
    """Judge a row's place: by point value, and refuted only by tests.

    Rows that the tests do not separate from it are named as tied; one of just the same value leaves
    the place open. With t rows significantly ahead
    the place is after t, with t significantly behind it is before the last t.
    """
    row, *others = cell.rows
    family = corrected([tests.compare(dataset, row, other, cell.metric) for other in others])
    ahead = [one for one in family if one.better]
    behind = [one for one in family if one.better is False]
    num_rows = len(cell.rows)
    first, last = check.ranks(num_rows)
    surely_first = 1 + sum(bool(one.significant) for one in ahead)
    surely_last = num_rows - sum(bool(one.significant) for one in behind)
    verdict: Ours = "undecided"
    if surely_first > last or surely_last < first:
        verdict = "fails"
    elif 1 + len(ahead) >= first and num_rows - len(behind) <= last:
        verdict = "holds"
    tied = [one.other for one in family if not one.significant]
    text = f"{row} is at place {1 + len(ahead)} of {num_rows}"
    if tied:
        text += f", tied with {', '.join(tied)}"
    tested = "; ".join(numbers(one) for one in family)
    return Finding(cell=cell, verdict=verdict, text=f"{text}; {tested}")


def value(check: Value, cell: Cell, tests: Comparisons, dataset: str) -> Finding:
    """Show a value; other data or another backbone would make a test of it meaningless."""
    sample = tests.sample(dataset, cell.rows[0])
    mean = float(np.mean(list(by_seed(sample, cell.metric).values())))
    stated = [
        f"{words} {bound:g}"
        for words, bound in (
            ("about", check.value),
            ("above", check.above),
            ("at least", check.at_least),
            ("at most", check.at_most),
        )
        if bound is not None
    ]
    text = f"{cell.rows[0]}: {mean:.4f}, claimed {' and '.join(stated)}; shown, not tested"
    return Finding(cell=cell, verdict="shown", text=text)
