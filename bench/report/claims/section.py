"""The claims section of a board: each claim of its paper, in its own numbers and in our results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.hashing import checksum, digest
from bench.plan.trials import Board
from bench.report import published
from bench.report.assemble import RowTrials
from bench.report.claims.cards import Claim, PaperClaims, find_claim_files, load_claims
from bench.report.claims.published_values import judge_published
from bench.report.claims.reproduced import judge_reproduced
from bench.report.claims.runs import Runs, read_runs
from bench.report.significance import StatisticsCache
from bench.report.table import BoardTable, ClaimLine
from bench.results.load import ResultSet

PlannedBoards = Mapping[str, tuple[Board, RowTrials]]


def claims_of(board: str) -> list[tuple[PaperClaims, Claim]]:
    """Return the claims that a board shows: those that name it first."""
    return [
        (paper, claim)
        for paper in map(load_claims, sorted(find_claim_files()))
        for claim in paper.claims
        if claim.boards[0] == board
    ]


def boards_needed(names: Iterable[str]) -> set[str]:
    """Return all boards whose rows the claims of these boards name."""
    return {board for name in names for _, claim in claims_of(name) for board in claim.boards}


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
    claims = claims_of(table.name)
    if not claims:
        return ()
    boards = sorted({name for _, claim in claims for name in claim.boards if name in planned})
    numbers = published.load_published()
    key = (
        "claims",
        table.name,
        digest([[paper.model_dump(mode="json"), claim.id] for paper, claim in claims]),
        digest([repr(entry) for entry in numbers.numbers.items()]),
        _file_checksums([planned[name] for name in boards], results),
    )
    if key not in cache:
        runs = {  # claims on the same boards share their comparisons
            names: read_runs([planned[name] for name in names if name in planned], results)
            for names in {claim.boards: None for _, claim in claims}
        }
        cache[key] = tuple(
            _claim_line(claim, paper, runs[claim.boards], numbers) for paper, claim in claims
        )
    lines: tuple[ClaimLine, ...] = cache[key]
    return lines


def _file_checksums(
    planned: Sequence[tuple[Board, RowTrials]], results: ResultSet
) -> tuple[object, ...]:
    """List the results behind boards with their checksums: another file, another answer."""
    states: list[tuple[str, str, str]] = []
    for board, row_trials in planned:
        states.append((board.name, board.card.reference_row, ""))  # sweeps go through it
        for row, trial in row_trials:
            path = results.folder / f"{trial.id}.json"
            states.append((row.name, trial.id, checksum(path) if path.is_file() else trial.problem))
    return tuple(states)


def _claim_line(
    claim: Claim, paper: PaperClaims, runs: Runs, numbers: published.Published
) -> ClaimLine:
    published_claim = judge_published(claim, paper, numbers)
    reproduced = judge_reproduced(claim, paper, runs)
    return ClaimLine(
        id=claim.id,
        section=claim.section,
        sentence=claim.sentence,
        implied=claim.implied,
        published_verdict=published_claim.verdict,
        published_count=published_claim.count,
        verdict=reproduced.verdict,
        count=reproduced.count,
        note=claim.note,
        cells=tuple(
            (cell.cell.dataset, cell.cell.metric, cell.verdict, cell.text)
            for cell in reproduced.cells
            if cell.text
        ),
        missing=tuple(reproduced.reasons),
    )
