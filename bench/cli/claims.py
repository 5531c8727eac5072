"""`bench claims`: what the papers claim, in their own printed numbers and in our results."""

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
    from bench.report.claims.cards import Book, Claim
    from bench.report.claims.published_values import PrintedCheck, PrintedClaim
    from bench.report.claims.reproduced import OursClaim
    from bench.report.claims.runs import Comparisons

WIDTH = 100
NUM_REASONS = 2
LEGEND = (
    "In print: point values only, for the papers print neither seeds nor intervals. In ours: "
    "paired tests, corrected by Holm within each data set and metric."
)


def claims(
    paper: Annotated[
        str | None, typer.Option("--paper", metavar="P", help="One paper: sprec, igd, dpo4rec.")
    ] = None,
    board: o.BoardName = None,
    results: o.ResultsFolder = o.RESULTS,
    as_json: o.AsJson = False,
) -> None:
    """Print each claim with its verdict in the paper's printed numbers and in our results."""
    from bench.report import published
    from bench.report.claims import published_values, reproduced
    from bench.report.claims.cards import book_paths, load

    names = [paper] if paper is not None else sorted(book_paths())
    books = {name: load(name) for name in names}
    chosen = _chosen(books, board)
    numbers = published.load()
    tests = _tests([claim.boards for _, claim in chosen], results)
    judged = [
        (
            name,
            published_values.judge(claim, books[name], numbers),
            reproduced.judge(claim, books[name], tests[claim.boards]),
        )
        for name, claim in chosen
    ]
    if as_json:
        print(json.dumps({"claims": [_content(*one) for one in judged]}, indent=2))
        return
    for name in books:
        lines = [_lines(*one[1:]) for one in judged if one[0] == name]
        if lines:
            print("\n\n".join([f"{books[name].title}\n", *lines]), end="\n\n")
    print(textwrap.fill(LEGEND, WIDTH))


def _chosen(books: dict[str, Book], board: str | None) -> list[tuple[str, Claim]]:
    """List the claims asked for; a claim is shown on the first of its boards."""
    found = [(name, claim) for name, book in books.items() for claim in book.claims]
    known = {claim.boards[0] for _, claim in found}
    if board is not None and board not in known:
        raise unknown("board with claims", board, known)
    return [(name, claim) for name, claim in found if board in (None, claim.boards[0])]


def _tests(wanted: Sequence[tuple[str, ...]], results: Path) -> dict[tuple[str, ...], Comparisons]:
    """Read the results behind each set of boards; boards that were never run have none."""
    from bench.cli.selection import RECORDS, cells, recall
    from bench.report.claims.board_runs import read_runs
    from bench.report.claims.runs import Comparisons

    planned: dict[str, tuple[Board, Cells]] = {}
    names = {name for boards in wanted for name in boards}
    if any((results / RECORDS).glob("*.json")):
        for selection in recall(results):
            if selection.boards[0].name in names:
                planned |= {one.name: (one, row) for one, row in cells(selection)}
    return {
        boards: Comparisons(
            read_runs([planned[name] for name in boards if name in planned], results)
        )
        for boards in dict.fromkeys(wanted)
    }


def _lines(in_print: PrintedClaim, in_ours: OursClaim) -> str:
    """Write a claim in a few lines: sentence, both verdicts, what is missing."""
    claim = in_print.claim
    count = f" ({in_print.count})" if in_print.count else ""
    told = f"in print: {in_print.verdict}{count}; in ours: {in_ours.verdict}"
    if in_ours.verdict != "not run":
        told += f" ({in_ours.count})"
    if in_ours.reasons:
        more = len(in_ours.reasons) - NUM_REASONS
        told += f": {'; '.join(in_ours.reasons[:NUM_REASONS])}"
        told += f"; and {more} more" if more > 0 else ""
    parts = [f"{claim.id}  {claim.sentence}", told, f"note: {claim.note}" if claim.note else ""]
    indent = " " * (len(claim.id) + 2)
    return "\n".join(
        textwrap.fill(
            part, WIDTH, initial_indent=indent if number else "", subsequent_indent=indent
        )
        for number, part in enumerate(parts)
        if part
    )


def _content(name: str, in_print: PrintedClaim, in_ours: OursClaim) -> dict[str, Any]:
    """Return a claim for JSON."""
    claim = in_print.claim
    return {
        "paper": name,
        "id": claim.id,
        "section": claim.section,
        "sentence": claim.sentence,
        "implied": claim.implied,
        "boards": list(claim.boards),
        "note": claim.note,
        "printed": {
            "verdict": in_print.verdict,
            "checks": [_printed_content(check) for check in in_print.checks],
            "also": [_printed_content(check) for check in in_print.also],
        },
        "ours": {
            "verdict": in_ours.verdict,
            "cells": [
                {
                    "dataset": finding.cell.dataset,
                    "metric": finding.cell.metric,
                    "rows": list(finding.cell.rows),
                    "verdict": finding.verdict,
                    "text": finding.text,
                    "missing": list(finding.missing),
                }
                for finding in in_ours.findings
            ],
        },
    }


def _printed_content(check: PrintedCheck) -> dict[str, Any]:
    return {
        "about": check.check.about,
        "verdict": check.verdict,
        "holds": check.holds,
        "of": check.of,
        "ties": check.ties,
        "unreadable": check.unreadable,
    }
