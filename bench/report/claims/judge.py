"""Claims of papers, judged by the published numbers and by our results, and a board's claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.request import RESULTS
from bench.errors import unknown
from bench.hashing import checksum, digest
from bench.plan.trials import Board
from bench.report import published
from bench.report.assemble import RowTrials
from bench.report.claims.cards import Claim, PaperClaims, find_claim_files, load_claims
from bench.report.claims.published_values import PublishedCheck, PublishedClaim, judge_published
from bench.report.claims.reproduced import ReproducedClaim, judge_reproduced
from bench.report.claims.runs import read_runs
from bench.report.significance import StatisticsCache
from bench.report.table import BoardTable, ClaimLine
from bench.results.load import ResultSet, load_results
from bench.results.run_records import plan_recorded

# Name of the paper's file of claims, the paper, and one of its claims.
SelectedClaim = tuple[str, PaperClaims, Claim]
PlannedBoards = Mapping[str, tuple[Board, RowTrials]]


@dataclass(frozen=True, kw_only=True)
class JudgedClaim:
    """A claim with both verdicts; `paper` is the name of the paper's file of claims."""

    paper: str
    title: str
    published: PublishedClaim
    reproduced: ReproducedClaim

    def to_json(self) -> dict[str, Any]:
        """Return the claim and its verdicts as plain values."""
        claim = self.published.claim
        fields = ("id", "section", "sentence", "implied", "boards", "note")
        return {
            "paper": self.paper,
            **claim.model_dump(mode="json", include={*fields}),
            "published": {
                "verdict": self.published.verdict,
                "checks": [_check_to_json(check) for check in self.published.checks],
                "also": [_check_to_json(check) for check in self.published.also],
            },
            "reproduced": {
                "verdict": self.reproduced.verdict,
                "cells": [
                    {
                        "dataset": cell.cell.dataset,
                        "metric": cell.cell.metric,
                        "rows": list(cell.cell.rows),
                        "verdict": cell.verdict,
                        "text": cell.text,
                        "missing": list(cell.missing),
                    }
                    for cell in self.reproduced.cells
                ],
            },
        }

    def to_line(self) -> ClaimLine:
        """Return what a board shows of it."""
        claim, reproduced = self.published.claim, self.reproduced
        return ClaimLine(
            id=claim.id,
            section=claim.section,
            sentence=claim.sentence,
            implied=claim.implied,
            published_verdict=self.published.verdict,
            published_count=self.published.count,
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


def _check_to_json(check: PublishedCheck) -> dict[str, Any]:
    numbers = ("verdict", "num_holding", "num_cells", "num_ties", "num_unreadable")
    return {"about": check.check.about} | {name: getattr(check, name) for name in numbers}


def claims(
    *, paper: str | None = None, board: str | None = None, results: Path | str = RESULTS
) -> list[JudgedClaim]:
    """Judge the claims of papers by the published numbers and by our results.

    Args:
        paper: Name of a paper, e.g. "sprec", in any case; None for all.
        board: Only claims listed on this board.
        results: Folder of the results.

    Raises:
        BenchError: If there is no such paper or board.
    """
    papers = sorted(find_claim_files())
    if paper is not None:
        papers = [name for name in papers if name.casefold() == paper.casefold()] or [paper]
    selected = _select_claims(papers)
    boards = {claim.boards[0] for *_, claim in selected}  # a claim is listed on its first board
    if board is not None and board not in boards:
        raise unknown("board with claims", board, boards)
    selected = [entry for entry in selected if board in (None, entry[2].boards[0])]
    used = {name for *_, claim in selected for name in claim.boards}
    planned = {each[0].name: each for each in plan_recorded(used, Path(results))}
    return _judge_claims(selected, planned, load_results(results))


def boards_needed(board: str) -> set[str]:
    """Return all boards whose rows the claims of a board name."""
    return {name for *_, claim in _list_claims(board) for name in claim.boards}


def claim_lines(
    table: BoardTable, planned: PlannedBoards, results: ResultSet, cache: StatisticsCache
) -> tuple[ClaimLine, ...]:
    """Judge the claims that a board shows.

    `planned` are the boards whose rows its claims name, as far as they were run; `cache` has what
    was computed from equal files before.
    """
    selected = _list_claims(table.name)
    if not selected:
        return ()
    boards = sorted({name for *_, claim in selected for name in claim.boards if name in planned})
    key = (
        "claims",
        table.name,
        digest([[paper.model_dump(mode="json"), claim.id] for _, paper, claim in selected]),
        digest([repr(entry) for entry in published.load_published().numbers.items()]),
        _file_checksums([planned[name] for name in boards], results),
    )
    if key not in cache:
        judged = _judge_claims(selected, planned, results)
        cache[key] = tuple(claim.to_line() for claim in judged)
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


def _list_claims(board: str) -> list[SelectedClaim]:
    """List the claims that a board shows: those that name it first."""
    return [entry for entry in _select_claims(find_claim_files()) if entry[2].boards[0] == board]


def _select_claims(papers: Iterable[str]) -> list[SelectedClaim]:
    cards = {name: load_claims(name) for name in sorted(papers)}
    return [(name, card, claim) for name, card in cards.items() for claim in card.claims]


def _judge_claims(
    selected: Sequence[SelectedClaim], planned: PlannedBoards, results: ResultSet
) -> list[JudgedClaim]:
    numbers = published.load_published()
    runs = {  # claims on the same boards share their comparisons
        boards: read_runs([planned[name] for name in boards if name in planned], results)
        for boards in {claim.boards for *_, claim in selected}
    }
    return [
        JudgedClaim(
            paper=name,
            title=paper.title,
            published=judge_published(claim, paper, numbers),
            reproduced=judge_reproduced(claim, paper, runs[claim.boards]),
        )
        for name, paper, claim in selected
    ]
