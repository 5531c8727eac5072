"""`bench claims`: the papers' claims, judged by their own numbers and by our results."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import unknown

if TYPE_CHECKING:
    from bench.cli.selection import Cells
    from bench.plan.trials import Board
    from bench.report.claims.cards import Claim, PaperClaims
    from bench.report.claims.published_values import PublishedCheck, PublishedClaim
    from bench.report.claims.reproduced import ReproducedClaim
    from bench.report.claims.runs import Runs

WIDTH = 100
NUM_REASONS = 2


def claims(
    paper: Annotated[
        str | None, typer.Option("--paper", metavar="P", help="One paper, e.g. sprec.")
    ] = None,
    board: o.BoardName = None,
    results: o.ResultsFolder = o.RESULTS,
    as_json: o.AsJson = False,
) -> None:
    """Print each claim with its verdict by the paper's printed numbers and by our results."""
    from bench.report import published
    from bench.report.claims.cards import find_claim_files, load_claims
    from bench.report.claims.published_values import judge_published
    from bench.report.claims.reproduced import judge_reproduced
    from bench.stats.descriptions import CLAIM_TESTS

    names = [paper] if paper is not None else sorted(find_claim_files())
    papers = {name: load_claims(name) for name in names}
    selected = _select(papers, board)
    numbers = published.load_published()
    runs = _read_runs([claim.boards for _, claim in selected], results)
    judged = [
        (
            name,
            judge_published(claim, papers[name], numbers),
            judge_reproduced(claim, papers[name], runs[claim.boards]),
        )
        for name, claim in selected
    ]
    if as_json:
        print(json.dumps({"claims": [_to_json(*claim) for claim in judged]}, indent=2))
        return
    for name, card in papers.items():
        texts = [
            _to_text(by_paper, by_results)
            for owner, by_paper, by_results in judged
            if owner == name
        ]
        if texts:
            print("\n\n".join([f"{card.title}\n", *texts]), end="\n\n")
    print(textwrap.fill(CLAIM_TESTS, WIDTH))


def _select(papers: dict[str, PaperClaims], board: str | None) -> list[tuple[str, Claim]]:
    """Select the claims of a board, or all; a claim is listed on the first of its boards."""
    every = [(name, claim) for name, paper in papers.items() for claim in paper.claims]
    boards = {claim.boards[0] for _, claim in every}
    if board is not None and board not in boards:
        raise unknown("board with claims", board, boards)
    return [(name, claim) for name, claim in every if board in (None, claim.boards[0])]


def _read_runs(
    board_names: Sequence[tuple[str, ...]], results: Path
) -> dict[tuple[str, ...], Runs]:
    """Read the results of each set of boards; boards that were never run have none."""
    from bench.cli.selection import RECORDS, cells, recall
    from bench.report.claims.runs import read_runs
    from bench.results.load import load_results

    stored = load_results(results)
    planned: dict[str, tuple[Board, Cells]] = {}
    names = {name for boards in board_names for name in boards}
    if any((results / RECORDS).glob("*.json")):
        for selection in recall(results):
            if selection.boards[0].name in names:
                planned |= {board.name: (board, row) for board, row in cells(selection)}
    return {
        boards: read_runs([planned[name] for name in boards if name in planned], stored)
        for boards in dict.fromkeys(board_names)
    }


def _to_text(by_paper: PublishedClaim, by_results: ReproducedClaim) -> str:
    """Write a claim in a few lines: sentence, both verdicts, reasons for missing results."""
    claim = by_paper.claim
    count = f" ({by_paper.count})" if by_paper.count else ""
    verdicts = f"published: {by_paper.verdict}{count}; reproduced: {by_results.verdict}"
    if by_results.verdict != "not run":
        verdicts += f" ({by_results.count})"
    if by_results.reasons:
        num_more = len(by_results.reasons) - NUM_REASONS
        verdicts += f": {'; '.join(by_results.reasons[:NUM_REASONS])}"
        verdicts += f"; and {num_more} more" if num_more > 0 else ""
    parts = [f"{claim.id}  {claim.sentence}", verdicts, f"note: {claim.note}" if claim.note else ""]
    indent = " " * (len(claim.id) + 2)
    return "\n".join(
        textwrap.fill(part, WIDTH, initial_indent=indent if index else "", subsequent_indent=indent)
        for index, part in enumerate(parts)
        if part
    )


def _to_json(name: str, by_paper: PublishedClaim, by_results: ReproducedClaim) -> dict[str, Any]:
    claim = by_paper.claim
    return {
        "paper": name,
        "id": claim.id,
        "section": claim.section,
        "sentence": claim.sentence,
        "implied": claim.implied,
        "boards": list(claim.boards),
        "note": claim.note,
        "published": {
            "verdict": by_paper.verdict,
            "checks": [_check_to_json(check) for check in by_paper.checks],
            "also": [_check_to_json(check) for check in by_paper.also],
        },
        "reproduced": {
            "verdict": by_results.verdict,
            "cells": [
                {
                    "dataset": cell.cell.dataset,
                    "metric": cell.cell.metric,
                    "rows": list(cell.cell.rows),
                    "verdict": cell.verdict,
                    "text": cell.text,
                    "missing": list(cell.missing),
                }
                for cell in by_results.cells
            ],
        },
    }


def _check_to_json(check: PublishedCheck) -> dict[str, Any]:
    return {
        "about": check.check.about,
        "verdict": check.verdict,
        "num_holding": check.num_holding,
        "num_cells": check.num_cells,
        "num_ties": check.num_ties,
        "num_unreadable": check.num_unreadable,
    }
