"""Verdicts of claims by our results: tests and intervals, each cell with its numbers.

A check is decided as soon as its other cells cannot change the verdict; cells without results, or
that the statistics refuse, are listed with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.errors import BenchError
from bench.report.claims import change_intervals, row_tests, sweep_tests
from bench.report.claims.cards import Cell, Claim, PaperClaims
from bench.report.claims.claim_types import (
    Check,
    Evidence,
    Larger,
    Level,
    Pair,
    Peak,
    Position,
    Range,
    SweepCheck,
    Trend,
    Value,
)
from bench.report.claims.runs import NO_RESULT, Comparisons, ReproducedCell, Runs
from bench.report.claims.verdict import (
    ReproducedVerdict,
    combine_reproduced,
    judge_reproduced_cells,
)

EVERY_CATEGORY = "[*]"
ORDER: tuple[ReproducedVerdict, ...] = ("holds", "fails", "undecided", "shown", "not run")


@dataclass(frozen=True, kw_only=True)
class ReproducedCheck:
    """What our results say about one check."""

    check: Check
    verdict: ReproducedVerdict
    cells: tuple[ReproducedCell, ...]


@dataclass(frozen=True, kw_only=True)
class ReproducedClaim:
    """What our results say about a claim."""

    claim: Claim
    verdict: ReproducedVerdict
    checks: tuple[ReproducedCheck, ...]

    @property
    def cells(self) -> list[ReproducedCell]:
        """Those of all checks."""
        return [cell for check in self.checks for cell in check.cells]

    @property
    def count(self) -> str:
        """Number of cells by verdict, e.g. "3 holds, 1 undecided"."""
        counts = Counter(cell.verdict for cell in self.cells)
        return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])

    @property
    def reasons(self) -> list[str]:
        """Why cells were not run, without repetitions."""
        return list(dict.fromkeys(reason for cell in self.cells for reason in cell.missing))


def judge_reproduced(claim: Claim, paper: PaperClaims, tests: Comparisons) -> ReproducedClaim:
    """Judge a claim by our results; its checks in `also` concern published numbers only."""
    checks = tuple(judge_reproduced_check(check, paper, tests) for check in claim.checks)
    return ReproducedClaim(
        claim=claim, verdict=combine_reproduced([check.verdict for check in checks]), checks=checks
    )


def judge_reproduced_check(check: Check, paper: PaperClaims, tests: Comparisons) -> ReproducedCheck:
    """Judge one check; the cells of one data set, metric and host are one family of tests."""
    if isinstance(check, Evidence):
        missing = _not_run(Cell(dataset="", metric="", rows=()), f"needs {check.needs}")
        return ReproducedCheck(check=check, verdict="not run", cells=(missing,))
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for template in paper.expand_cells(check):
        for cell in _expand_categories(template, paper, tests.runs):
            families.setdefault((cell.dataset, cell.metric, cell.host), []).append(cell)
    judged = [
        result
        for family in families.values()
        for result in _judge_family(check, family, paper, tests)
    ]
    verdict = judge_reproduced_cells(_group_rivals(judged, check.rivals), check.quantifier)
    return ReproducedCheck(check=check, verdict=verdict, cells=tuple(judged))


def _not_run(cell: Cell, *reasons: str) -> ReproducedCell:
    return ReproducedCell(cell=cell, verdict="not run", missing=reasons)


def _expand_categories(cell: Cell, paper: PaperClaims, runs: Runs) -> list[Cell]:
    """Make one cell per tracked category if the check covers all of them."""
    dataset = paper.datasets.get(cell.dataset, "")
    sample = next(
        (runs.samples[dataset, row] for row in cell.rows if (dataset, row) in runs.samples), None
    )
    if EVERY_CATEGORY not in cell.metric or sample is None or not sample.tracked:
        return [cell]
    return [
        replace(cell, metric=cell.metric.replace(EVERY_CATEGORY, f"[{category}]"))
        for category in sample.tracked
    ]


def _group_rivals(cells: Sequence[ReproducedCell], rivals: str) -> list[ReproducedVerdict]:
    """Return the verdicts of cells; pairs count as one cell if the check says so."""
    if not rivals:
        return [cell.verdict for cell in cells]
    groups: dict[tuple[str, ...], list[ReproducedVerdict]] = {}
    for cell in cells:
        groups.setdefault(cell.cell.group, []).append(cell.verdict)
    return [judge_reproduced_cells(group, rivals) for group in groups.values()]


def _judge_family(
    check: Check, cells: Sequence[Cell], paper: PaperClaims, tests: Comparisons
) -> list[ReproducedCell]:
    """Judge the cells of one data set, metric and host."""
    judged, available = [], []
    for cell in cells:
        if reasons := _explain_missing(check, cell, paper, tests.runs):
            judged.append(_not_run(cell, *reasons))
        else:
            available.append(cell)
    try:
        return judged + _judge_available(check, available, paper, tests)
    except BenchError as error:
        if len(available) == 1:
            return [*judged, _not_run(available[0], error.message)]
    # One row that the statistics refuse must not prevent the verdicts of the others.
    accepted = []
    for cell in available:
        try:
            _judge_available(check, [cell], paper, tests)
            accepted.append(cell)
        except BenchError as error:
            judged.append(_not_run(cell, error.message))
    return judged + _judge_available(check, accepted, paper, tests)


def _judge_available(
    check: Check, cells: Sequence[Cell], paper: PaperClaims, tests: Comparisons
) -> list[ReproducedCell]:
    if not cells:
        return []
    dataset = paper.datasets[cells[0].dataset]
    if isinstance(check, Pair) and not isinstance(check, Range):
        return row_tests.judge_pairs(check, cells, tests, dataset)
    return [_judge_cell(check, cell, dataset, paper, tests) for cell in cells]


def _judge_cell(
    check: Check, cell: Cell, dataset: str, paper: PaperClaims, tests: Comparisons
) -> ReproducedCell:
    steps = []
    if isinstance(check, SweepCheck):
        steps = [tests.runs.sweeps[dataset, row, check.x] for row in cell.rows]
    match check:
        case Position():
            return row_tests.judge_position(check, cell, tests, dataset)
        case Value():
            return row_tests.show_value(check, cell, tests, dataset)
        case Larger():
            other = paper.datasets[cell.other_dataset] if cell.other_dataset else ""
            return change_intervals.judge_larger(check, cell, tests, dataset, other)
        case Trend():
            return sweep_tests.judge_trend(check, cell, tests, steps[0])
        case Peak():
            return sweep_tests.judge_peak(check, cell, tests, steps[0])
        case Level():
            return sweep_tests.judge_level(check, cell, tests, steps[0])
        case Range():
            return sweep_tests.show_range(check, cell, steps[0], steps[1])
        case _:
            raise AssertionError(f"{type(check).__name__} has no verdict by our results")


def _explain_missing(check: Check, cell: Cell, paper: PaperClaims, runs: Runs) -> tuple[str, ...]:
    """Return why a cell cannot be judged; nothing if all its results are available."""
    dataset = paper.datasets.get(cell.dataset, "")
    if isinstance(check, SweepCheck):
        reasons = [
            f"{row} over {check.x} on {dataset}: {NO_RESULT}"
            for row in cell.rows
            if (dataset, row, check.x) not in runs.sweeps
        ]
    else:
        required = [(dataset, row) for row in cell.rows]
        if cell.other_dataset:
            required[2:] = [(paper.datasets[cell.other_dataset], row) for row in cell.rows[2:]]
        reasons = [reason for key in required if (reason := runs.explain_missing(*key))]
    return tuple(dict.fromkeys(reasons))
