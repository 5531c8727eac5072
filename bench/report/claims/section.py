"""The claims section of a board: each claim of its paper, in its own numbers and in our results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.hashing import checksum, digest
from bench.plan.trials import Board
from bench.report.assemble import RowTrials
from bench.report.claims.cards import find_claim_files
from bench.report.claims.judge import (
    JudgedClaim,
    PlannedBoards,
    SelectedClaim,
    judge_claims,
    select_claims,
)
from bench.report.published import load_published
from bench.report.significance import StatisticsCache
from bench.report.table import BoardTable, ClaimLine
from bench.results.load import ResultSet


def _select_claims(board: str) -> list[SelectedClaim]:
    """Return the claims that a board shows: those that name it first."""
    selected = select_claims(sorted(find_claim_files()))
    return [entry for entry in selected if entry[2].boards[0] == board]


def boards_needed(names: Iterable[str]) -> set[str]:
    """Return all boards whose rows the claims of these boards name."""
    return {board for name in names for *_, claim in _select_claims(name) for board in claim.boards}


def claim_lines(
    table: BoardTable, planned: PlannedBoards, results: ResultSet, cache: StatisticsCache
) -> tuple[ClaimLine, ...]:
    """Test the claims that a board shows.

    Args:
        table: The board.
        planned: The boards whose rows its claims name, as far as they were run.
        results: The results.
        cache: What was computed from equal files before; see `bench.report.significance`.
    """
    claims = _select_claims(table.name)
    if not claims:
        return ()
    boards = sorted({name for *_, claim in claims for name in claim.boards if name in planned})
    key = (
        "claims",
        table.name,
        digest([[paper.model_dump(mode="json"), claim.id] for _, paper, claim in claims]),
        digest([repr(entry) for entry in load_published().numbers.items()]),
        _file_checksums([planned[name] for name in boards], results),
    )
    if key not in cache:
        cache[key] = tuple(map(_describe_claim, judge_claims(claims, planned, results)))
    lines: tuple[ClaimLine, ...] = cache[key]
    return lines


def _file_checksums(
    planned: Sequence[tuple[Board, RowTrials]], results: ResultSet
) -> tuple[object, ...]:
    """List the results behind boards with their checksums: another file, another answer."""
    states: list[tuple[str, str, str]] = []
    for board, row_trials in planned:
        setup = f"{board.card.reference_row}, {board.card.budget}, {board.card.model}"
        states.append((board.name, setup, ""))  # sweeps go through it
        for row, trial in row_trials:
            path = results.folder / f"{trial.id}.json"
            states.append((row.name, trial.id, checksum(path) if path.is_file() else trial.problem))
    return tuple(states)


def _describe_claim(judged: JudgedClaim) -> ClaimLine:
    claim, reproduced = judged.published.claim, judged.reproduced
    return ClaimLine(
        id=claim.id,
        section=claim.section,
        sentence=claim.sentence,
        implied=claim.implied,
        published_verdict=judged.published.verdict,
        published_count=judged.published.count,
        verdict=reproduced.verdict,
        count=reproduced.count,
        note=claim.note,
        cells=tuple(
            (cell.cell.dataset, cell.cell.metric, cell.verdict, cell.text)
            for cell in reproduced.cells
            if cell.text
        ),
        missing=tuple(reproduced.reasons),
        difference=reproduced.difference,
    )
