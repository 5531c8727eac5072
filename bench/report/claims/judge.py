"""Claims of papers, each judged by the published numbers and by our results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.request import RESULTS
from bench.errors import unknown
from bench.plan.trials import Board
from bench.report import published
from bench.report.assemble import RowTrials
from bench.report.claims.cards import Claim, PaperClaims, find_claim_files, load_claims
from bench.report.claims.published_values import PublishedCheck, PublishedClaim, judge_published
from bench.report.claims.reproduced import ReproducedClaim, judge_reproduced
from bench.report.claims.runs import read_runs
from bench.results.load import ResultSet, load_results
from bench.results.run_records import plan_recorded

# Name of the paper's file of claims, the paper, and one of its claims.
SelectedClaim = tuple[str, PaperClaims, Claim]
PlannedBoards = Mapping[str, tuple[Board, RowTrials]]


@dataclass(frozen=True, kw_only=True)
class JudgedClaim:
    """A claim with both verdicts.

    Attributes:
        paper: Name of the paper's file of claims; title: of the paper.
        published: Verdict by the published numbers.
        reproduced: Verdict by our results.
    """

    paper: str
    title: str
    published: PublishedClaim
    reproduced: ReproducedClaim

    def to_json(self) -> dict[str, Any]:
        """Return the claim and its verdicts as plain values."""
        claim = self.published.claim
        return {
            "paper": self.paper,
            "id": claim.id,
            "section": claim.section,
            "sentence": claim.sentence,
            "implied": claim.implied,
            "boards": list(claim.boards),
            "note": claim.note,
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
    selected = select_claims(papers)
    boards = {claim.boards[0] for *_, claim in selected}  # a claim is listed on its first board
    if board is not None and board not in boards:
        raise unknown("board with claims", board, boards)
    selected = [entry for entry in selected if board in (None, entry[2].boards[0])]
    used = {name for *_, claim in selected for name in claim.boards}
    planned = {each[0].name: each for each in plan_recorded(used, Path(results))}
    return judge_claims(selected, planned, load_results(results))


def select_claims(papers: Sequence[str]) -> list[SelectedClaim]:
    """List the claims of papers, named by their files of claims.

    Raises:
        BenchError: If there is no such paper.
    """
    cards = {name: load_claims(name) for name in papers}
    return [(name, card, claim) for name, card in cards.items() for claim in card.claims]


def judge_claims(
    selected: Sequence[SelectedClaim], planned: PlannedBoards, results: ResultSet
) -> list[JudgedClaim]:
    """Judge claims by the published numbers and by our results.

    Args:
        selected: The claims.
        planned: The boards whose rows they name, as far as they were run.
        results: The results.
    """
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
