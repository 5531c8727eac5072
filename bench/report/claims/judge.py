"""Claims of papers, each judged by the published numbers and by our results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.request import RESULTS
from bench.errors import unknown
from bench.report import published
from bench.report.claims.board_runs import read_runs
from bench.report.claims.cards import find_claim_files, load_claims
from bench.report.claims.published_values import PublishedCheck, PublishedClaim, judge_published
from bench.report.claims.reproduced import ReproducedClaim, judge_reproduced
from bench.report.claims.runs import Comparisons
from bench.results.load import load_results
from bench.results.run_records import plan_recorded


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
        paper: Name of a paper, e.g. "sprec"; None for all.
        board: Only claims listed on this board.
        results: Folder of the results.

    Raises:
        BenchError: If there is no such paper or board.
    """
    names = [paper] if paper is not None else sorted(find_claim_files())
    papers = {name: load_claims(name) for name in names}
    pairs = [(name, claim) for name, card in papers.items() for claim in card.claims]
    boards = {claim.boards[0] for _, claim in pairs}  # a claim is listed on its first board
    if board is not None and board not in boards:
        raise unknown("board with claims", board, boards)
    pairs = [(name, claim) for name, claim in pairs if board in (None, claim.boards[0])]
    used = {name for _, claim in pairs for name in claim.boards}
    planned = {each[0].name: each for each in plan_recorded(used, Path(results))}
    stored, numbers = load_results(results), published.load_published()
    comparisons = {
        names: Comparisons(read_runs([planned[name] for name in names if name in planned], stored))
        for names in {claim.boards for _, claim in pairs}
    }
    return [
        JudgedClaim(
            paper=name,
            title=papers[name].title,
            published=judge_published(claim, papers[name], numbers),
            reproduced=judge_reproduced(claim, papers[name], comparisons[claim.boards]),
        )
        for name, claim in pairs
    ]
