"""The claims box of a board: each claim of its paper, in print and in our results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.hashing import checksum, digest
from bench.plan.trials import Board
from bench.report import published
from bench.report.assemble import Cells
from bench.report.claims.board_runs import read_runs
from bench.report.claims.cards import Claim, PaperClaims, find_claim_files, load_claims
from bench.report.claims.published_values import judge_published
from bench.report.claims.reproduced import judge_reproduced
from bench.report.claims.runs import Comparisons, ReproducedCell, Runs
from bench.report.significance import Memory
from bench.report.table import BoardTable, ClaimLine

Planned = Mapping[str, tuple[Board, Cells]]


def claim_lines(
    table: BoardTable, planned: Planned, folder: Path, memory: Memory
) -> tuple[ClaimLine, ...]:
    """Judge the claims that a board shows: those that name it first.

    Args:
        table: The board.
        planned: All boards at hand; a claim may speak of rows of several.
        folder: Where results are stored.
        memory: What was computed of equal files before; see `bench.report.significance`.
    """
    shown = [
        (book, claim)
        for book in map(load_claims, sorted(find_claim_files()))
        for claim in book.claims
        if claim.boards[0] == table.name
    ]
    if not shown:
        return ()
    names = {name for _, claim in shown for name in claim.boards if name in planned}
    numbers = published.load()
    asked = digest([[book.model_dump(mode="json"), claim.id] for book, claim in shown])
    printed_too = digest([repr(one) for one in numbers.numbers.items()])
    files = _files([planned[name] for name in sorted(names)], folder)
    key = ("claims", table.name, asked, printed_too, files)
    if key not in memory:
        tests: dict[tuple[str, ...], Comparisons] = {}
        memory[key] = tuple(
            _line(claim, book, _tests(claim, planned, folder, tests), numbers)
            for book, claim in shown
        )
    lines: tuple[ClaimLine, ...] = memory[key]
    return lines


def _files(planned: Sequence[tuple[Board, Cells]], folder: Path) -> tuple[object, ...]:
    """Name the results behind boards, with their checksums: another file, another answer."""
    found = []
    for board, cells in planned:
        found.append((board.name, board.card.reference_row, ""))  # sweeps go through it
        for row, trial in cells:
            path = folder / f"{trial.id}.json"
            state = checksum(path) if path.is_file() else trial.problem
            found.append((row.name, trial.id, state))
    return tuple(found)


def _tests(
    claim: Claim, planned: Planned, folder: Path, made: dict[tuple[str, ...], Comparisons]
) -> Comparisons:
    """Read the results behind a set of boards once; claims share the tests, too."""
    if claim.boards not in made:
        boards = [planned[name] for name in claim.boards if name in planned]
        made[claim.boards] = Comparisons(read_runs(boards, folder) if boards else Runs())
    return made[claim.boards]


def _line(
    claim: Claim, book: PaperClaims, tests: Comparisons, numbers: published.Published
) -> ClaimLine:
    in_print = judge_published(claim, book, numbers)
    here = judge_reproduced(claim, book, tests)
    return ClaimLine(
        id=claim.id,
        section=claim.section,
        sentence=claim.sentence,
        implied=claim.implied,
        in_print=in_print.verdict,
        count_in_print=in_print.count,
        ours=here.verdict,
        count_ours=here.count,
        note=claim.note,
        cells=tuple(_cell(one) for one in here.cells if one.text),
        lacking=tuple(here.reasons),
    )


def _cell(one: ReproducedCell) -> tuple[str, str, str, str]:
    return one.cell.dataset, one.cell.metric, one.verdict, one.text
