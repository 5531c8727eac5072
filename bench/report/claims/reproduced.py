"""Verdicts of claims by our results: tests and intervals, each cell with its numbers.

A check is decided as soon as its other cells cannot change the verdict; cells without results, or
that the statistics refuse, are listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from bench.errors import BenchError
from bench.report.claims.cards import Cell, Claim, PaperClaims, group_rivals
from bench.report.claims.claim_types import Better, Check, NotBetter, Proof, SweepCheck
from bench.report.claims.row_tests import judge_by_seed, judge_pair, judge_row
from bench.report.claims.runs import NO_RESULT, Runs
from bench.report.claims.sweep_tests import judge_sweep
from bench.report.claims.verdict import (
    ReproducedVerdict,
    combine_reproduced,
    judge_reproduced_cells,
)
from bench.report.format import count_words
from bench.stats.compare import Comparison, correct_family

EVERY_CATEGORY = "[*]"


@dataclass(frozen=True, kw_only=True)
class ReproducedCell:
    """What our results say about one cell.

    Attributes:
        cell: The comparison; its metric names one category if the check covers all.
        verdict: See `ReproducedVerdict`.
        text: The numbers.
        missing: Why there are none, if it is "not run".
        difference: From what the paper ran, if it is "not comparable".
    """

    cell: Cell
    verdict: ReproducedVerdict
    text: str = ""
    missing: tuple[str, ...] = ()
    difference: str = ""


@dataclass(frozen=True, kw_only=True)
class ReproducedClaim:
    """What our results say about a claim and the cells of all its checks."""

    verdict: ReproducedVerdict
    cells: tuple[ReproducedCell, ...]

    @property
    def count(self) -> str:
        """Number of cells by verdict, e.g. "3 holds, 1 undecided"."""
        return count_words([cell.verdict for cell in self.cells], get_args(ReproducedVerdict))

    @property
    def reasons(self) -> list[str]:
        """Why cells were not run, without repetitions."""
        return list(dict.fromkeys(reason for cell in self.cells for reason in cell.missing))

    @property
    def difference(self) -> str:
        """What was run that the paper did not run, without repetitions."""
        return "; ".join(dict.fromkeys(cell.difference for cell in self.cells if cell.difference))


def judge_reproduced(claim: Claim, paper: PaperClaims, runs: Runs) -> ReproducedClaim:
    """Judge a claim by our results; its checks in `also` concern published numbers only."""
    cells: list[ReproducedCell] = []
    verdicts = []
    for check in claim.checks:
        judged = _judge_cells(check, paper, runs)
        groups = group_rivals(check, [(cell.cell, cell.verdict) for cell in judged])
        grouped = [judge_reproduced_cells(group, check.rivals or "all") for group in groups]
        verdicts.append(judge_reproduced_cells(grouped, check.quantifier))
        cells += judged
    return ReproducedClaim(verdict=combine_reproduced(verdicts), cells=tuple(cells))


def _judge_cells(check: Check, paper: PaperClaims, runs: Runs) -> list[ReproducedCell]:
    """Judge a check's cells; those of one data set, metric and host are one family of tests."""
    if isinstance(check, Proof):
        proof = Cell(dataset="", metric="", rows=())
        text = f"proven by {' and '.join(check.tests)}"
        return [ReproducedCell(cell=proof, verdict="holds", text=text)]
    runs = replace(runs, measures=paper.measures)
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for template in paper.expand_our_cells(check):
        for placed in _expand_datasets(template, runs):
            for cell in _expand_categories(placed, runs):
                families.setdefault((cell.dataset, cell.metric, cell.host), []).append(cell)
    return [
        _compare_setup(judged, runs)
        for cells in families.values()
        for judged in _judge_family(check, cells, paper, runs)
    ]


def _compare_setup(judged: ReproducedCell, runs: Runs) -> ReproducedCell:
    """Take back the verdict of rows that ran on another backbone, budget or data."""
    if judged.verdict == "not run":
        return judged
    names = zip(judged.cell.row_cards, judged.cell.rows, strict=False)
    differences = dict.fromkeys(runs.differences.get(name, "") for name in names)
    text = "; ".join(filter(None, differences))
    return replace(judged, verdict="not comparable", difference=text) if text else judged


def _expand_datasets(cell: Cell, runs: Runs) -> list[Cell]:
    """Make one cell per data set with all rows, where the paper's table names none."""
    if cell.dataset:
        return [cell]
    with_row = ({card for card, row in runs.results if row == name} for name in cell.rows)
    cards = sorted(set.intersection(*with_row))
    placed = [replace(cell, dataset=card, row_cards=(card,) * len(cell.rows)) for card in cards]
    return placed or [cell]


def _expand_categories(cell: Cell, runs: Runs) -> list[Cell]:
    """Make one cell per tracked category if the check covers all of them."""
    samples = (runs.samples.get((cell.card, row)) for row in cell.rows)
    sample = next(filter(None, samples), None)
    if EVERY_CATEGORY not in cell.metric or sample is None or not sample.tracked:
        return [cell]
    return [
        replace(cell, metric=cell.metric.replace(EVERY_CATEGORY, f"[{category}]"))
        for category in sample.tracked
    ]


def _judge_family(
    check: Check, cells: Sequence[Cell], paper: PaperClaims, runs: Runs
) -> list[ReproducedCell]:
    """Judge cells; one that the statistics refuse does not prevent the verdicts of the others."""
    judged: list[ReproducedCell] = []
    compared: list[tuple[Cell, Comparison]] = []

    def add(cell: Cell, verdict: ReproducedVerdict, text: str, missing: Sequence[str] = ()) -> None:
        judged.append(ReproducedCell(cell=cell, verdict=verdict, text=text, missing=tuple(missing)))

    for cell in cells:
        sign = 1 if paper.is_higher_better(cell.metric) else -1
        try:
            if reasons := _explain_missing(check, cell, runs):
                add(cell, "not run", "", reasons)
            elif isinstance(check, SweepCheck):
                add(cell, *judge_sweep(check, cell, runs, sign))
            elif cell.metric in runs.measures:
                add(cell, *judge_by_seed(check, cell, runs, sign))
            elif isinstance(check, Better | NotBetter):
                test = runs.compare(cell.card, cell.rows[1], cell.rows[0], cell.metric)
                compared.append((cell, test))
            else:
                add(cell, *judge_row(check, cell, runs))
        except BenchError as error:
            add(cell, "not run", "", [error.message])
    if isinstance(check, Better | NotBetter):
        family = correct_family([test for _, test in compared])
        for (cell, _), test in zip(compared, family, strict=True):
            add(cell, *judge_pair(check, cell, test, runs))
    return judged


def _explain_missing(check: Check, cell: Cell, runs: Runs) -> list[str]:
    """Return why a cell cannot be judged; nothing if all its results are available."""
    if isinstance(check, SweepCheck):
        return [
            f"{row} over {check.x} on {cell.card}: {NO_RESULT}"
            for row in cell.rows
            if (cell.card, row, check.x) not in runs.sweeps
        ]
    names = list(zip(cell.row_cards, cell.rows, strict=False))
    if base := cell.metric in runs.measures and runs.measures[cell.metric].relative_to:
        names.append((cell.card, base))
    return list(filter(None, (runs.explain_missing(*key) for key in dict.fromkeys(names))))
