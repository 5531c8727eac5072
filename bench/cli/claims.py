"""`bench claims`: the papers' claims, judged by the published numbers and by our results."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cli import options as o

if TYPE_CHECKING:
    from bench.report.table import ClaimLine

WIDTH = 100
MAX_REASONS = 2
MAX_CELLS = 6


def claims(
    paper: str | None = o.option("--paper", "NAME", "Only claims of this paper, e.g. sprec."),
    board: str | None = o.BOARD,
    results: Path = o.RESULTS,
    as_json: bool = o.AS_JSON,
) -> None:
    """Print each claim with its verdict by the published numbers and by our results."""
    from bench.stats.descriptions import CLAIM_TESTS, PUBLISHED_NUMBERS

    judged = bench.claims(paper=paper, board=board, results=results)
    if as_json:
        o.print_json({"claims": [claim.to_json() for claim in judged]})
        return
    titles: dict[str, list[str]] = {}
    for claim in judged:
        titles.setdefault(claim.title, []).append(_format(claim.to_line()))
    for title, texts in titles.items():
        print("\n\n".join([f"{title}\n", *texts]), end="\n\n")
    is_printed = any(claim.published.count for claim in judged)
    print(textwrap.fill(f"{PUBLISHED_NUMBERS} {CLAIM_TESTS}" if is_printed else CLAIM_TESTS, WIDTH))


def _format(claim: ClaimLine) -> str:
    """Format a claim: sentence, both verdicts, the numbers, reasons for missing results."""
    from bench.report.format import published_verdict

    verdicts = f"published: {published_verdict(claim)}; reproduced: {claim.verdict}"
    if claim.verdict != "not run":
        verdicts += f" ({claim.count})"
    if claim.difference:
        verdicts += f": {claim.difference}"
    if claim.missing:
        num_more = len(claim.missing) - MAX_REASONS
        verdicts += f": {'; '.join(claim.missing[:MAX_REASONS])}"
        verdicts += f"; and {num_more} more" if num_more > 0 else ""
    cells = [
        f"{', '.join(filter(None, (dataset, metric)))}: {text}"
        for dataset, metric, _, text in claim.cells
    ]
    if len(cells) > MAX_CELLS:
        cells[MAX_CELLS:] = [f"{len(cells) - MAX_CELLS} more comparisons: bench claims --json"]
    note = f"note: {claim.note}" if claim.note else ""
    parts = [f"{claim.id}  {claim.sentence}", verdicts, *cells, note]
    indent = " " * (len(claim.id) + 2)
    return "\n".join(
        textwrap.fill(part, WIDTH, initial_indent=indent if index else "", subsequent_indent=indent)
        for index, part in enumerate(parts)
        if part
    )
