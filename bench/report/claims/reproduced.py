"""What our runs say of the claims: tests and intervals, each cell with its numbers.

A check holds or fails as soon as its other cells cannot change that; cells that were not run, or
that the statistics refuse, stand there with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.errors import BenchError
from bench.report.claims import interaction_tests, row_tests, sweep_tests
from bench.report.claims.cards import Book, Cell, Claim
from bench.report.claims.claim_types import (
    Check,
    Evidence,
    Larger,
    Level,
    Pair,
    Peak,
    Position,
    Range,
    Trend,
    Value,
)
from bench.report.claims.runs import NO_RESULT, Comparisons, Finding, Runs, Steps
from bench.report.claims.verdict import Ours, all_ours, of_cells_ours

EVERY_CATEGORY = "[*]"
ORDER: tuple[Ours, ...] = ("holds", "fails", "undecided", "shown", "not run")


@dataclass(frozen=True, kw_only=True)
class OursCheck:
    """What the runs say of one check."""

    check: Check
    verdict: Ours
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class OursClaim:
    """What the runs say of a claim."""

    claim: Claim
    verdict: Ours
    checks: tuple[OursCheck, ...]

    @property
    def findings(self) -> list[Finding]:
        """Those of all checks."""
        return [finding for check in self.checks for finding in check.findings]

    @property
    def count(self) -> str:
        """Cells by verdict, as in "3 holds, 1 undecided"."""
        counts = Counter(finding.verdict for finding in self.findings)
        return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])

    @property
    def reasons(self) -> list[str]:
        """Why cells were not run, each once."""
        return list(dict.fromkeys(why for one in self.findings for why in one.missing))


def judge(claim: Claim, book: Book, tests: Comparisons) -> OursClaim:
    """Judge a claim by what was run; what its card counts beside it concerns print alone."""
    checks = tuple(judge_check(check, book, tests) for check in claim.checks)
    return OursClaim(
        claim=claim, verdict=all_ours([check.verdict for check in checks]), checks=checks
    )


def judge_check(check: Check, book: Book, tests: Comparisons) -> OursCheck:
    """Judge one check."""
    if isinstance(check, Evidence):
        cell = Cell(dataset="", metric="", rows=())
        findings = [Finding(cell=cell, verdict="not run", missing=(f"needs {check.needs}",))]
        return OursCheck(check=check, verdict="not run", findings=tuple(findings))
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in book.cells(check):
        for one in _every_category(cell, book, tests.runs):
            families.setdefault((one.dataset, one.metric, one.host), []).append(one)
    findings = [
        finding for cells in families.values() for finding in _family(check, cells, book, tests)
    ]
    units = _units(findings, check.rivals)
    verdict = of_cells_ours(units, check.quantifier)
    return OursCheck(check=check, verdict=verdict, findings=tuple(findings))


def _every_category(cell: Cell, book: Book, runs: Runs) -> list[Cell]:
    """Put each tracked category where the check asks for all."""
    dataset = book.datasets.get(cell.dataset, "")
    sample = next(
        (runs.samples[dataset, row] for row in cell.rows if (dataset, row) in runs.samples), None
    )
    if EVERY_CATEGORY not in cell.metric or sample is None or not sample.tracked:
        return [cell]
    return [
        replace(cell, metric=cell.metric.replace(EVERY_CATEGORY, f"[{category}]"))
        for category in sample.tracked
    ]


def _units(findings: Sequence[Finding], rivals: str) -> list[Ours]:
    if not rivals:
        return [finding.verdict for finding in findings]
    groups: dict[tuple[str, ...], list[Ours]] = {}
    for finding in findings:
        groups.setdefault(finding.cell.group, []).append(finding.verdict)
    return [of_cells_ours(group, rivals) for group in groups.values()]


def _family(check: Check, cells: Sequence[Cell], book: Book, tests: Comparisons) -> list[Finding]:
    """Judge the cells of one data set, metric and host."""
    lacking = [_lack(check, cell, book, tests.runs) for cell in cells]
    findings = [
        Finding(cell=cell, verdict="not run", missing=lack)
        for cell, lack in zip(cells, lacking, strict=True)
        if lack
    ]
    present = [cell for cell, lack in zip(cells, lacking, strict=True) if not lack]
    try:
        return findings + _judged(check, present, book, tests)
    except BenchError as error:
        if len(present) == 1:
            return [
                *findings,
                Finding(cell=present[0], verdict="not run", missing=(error.message,)),
            ]
    # One row that the statistics refuse must not cost the others their verdicts.
    good = []
    for cell in present:
        try:
            _judged(check, [cell], book, tests)
            good.append(cell)
        except BenchError as error:
            findings.append(Finding(cell=cell, verdict="not run", missing=(error.message,)))
    return findings + _judged(check, good, book, tests)


def _judged(check: Check, cells: Sequence[Cell], book: Book, tests: Comparisons) -> list[Finding]:
    if isinstance(check, Pair) and not isinstance(check, Range):
        return (
            row_tests.pairs(check, cells, tests, book.datasets[cells[0].dataset]) if cells else []
        )
    return [_one(check, cell, book, tests) for cell in cells]


def _one(check: Check, cell: Cell, book: Book, tests: Comparisons) -> Finding:
    dataset = book.datasets[cell.dataset]
    match check:
        case Position():
            return row_tests.position(check, cell, tests, dataset)
        case Value():
            return row_tests.value(check, cell, tests, dataset)
        case Larger():
            other = book.datasets[cell.other_dataset] if cell.other_dataset else ""
            return interaction_tests.larger(check, cell, tests, dataset, other)
        case Trend() | Peak() | Level() | Range():
            steps = [tests.runs.sweeps[dataset, row, check.x] for row in cell.rows]
            return _along(check, cell, tests, steps)
        case _:
            raise AssertionError(f"{type(check).__name__} has no verdict on runs")


def _along(
    check: Trend | Peak | Level | Range, cell: Cell, tests: Comparisons, steps: Sequence[Steps]
) -> Finding:
    match check:
        case Trend():
            return sweep_tests.trend(check, cell, tests, steps[0])
        case Peak():
            return sweep_tests.peak(check, cell, tests, steps[0])
        case Level():
            return sweep_tests.level(check, cell, tests, steps[0])
        case Range():
            return sweep_tests.spread(check, cell, steps[0], steps[1])


def _lack(check: Check, cell: Cell, book: Book, runs: Runs) -> tuple[str, ...]:
    """Say what a cell lacks; nothing where everything is there."""
    dataset = book.datasets.get(cell.dataset, "")
    if isinstance(check, Trend | Peak | Level | Range):
        missing = [row for row in cell.rows if (dataset, row, check.x) not in runs.sweeps]
        lacks = [f"{row} over {check.x} on {dataset}: {NO_RESULT}" for row in missing]
    else:
        wanted = [(dataset, row) for row in cell.rows]
        if cell.other_dataset:
            wanted[2:] = [(book.datasets[cell.other_dataset], row) for row in cell.rows[2:]]
        lacks = [lack for one in wanted if (lack := runs.lack(*one))]
    return tuple(dict.fromkeys(lacks))
