"""`bench claims`: the papers' claims, judged by the published numbers and by our results."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cli import options as o

if TYPE_CHECKING:
    from bench.report.claims.judge import JudgedClaim

WIDTH = 100
MAX_REASONS = 2


def claims(
    paper: str | None = o.option("--paper", "NAME", "Only claims of this paper, e.g. sprec."),
    board: str | None = o.BOARD,
    results: Path = o.RESULTS,
    as_json: bool = o.AS_JSON,
) -> None:
    """Print each claim with its verdict by the published numbers and by our results."""
    from bench.stats.descriptions import CLAIM_TESTS

    judged = bench.claims(paper=paper, board=board, results=results)
    if as_json:
        o.print_json({"claims": [claim.to_json() for claim in judged]})
        return
    titles: dict[str, list[str]] = {}
    for claim in judged:
        titles.setdefault(claim.title, []).append(_format(claim))
    for title, texts in titles.items():
        print("\n\n".join([f"{title}\n", *texts]), end="\n\n")
    print(textwrap.fill(CLAIM_TESTS, WIDTH))


def _format(judged: JudgedClaim) -> str:
    """Format a claim in a few lines: sentence, both verdicts, reasons for missing results."""
    published, reproduced = judged.published, judged.reproduced
    claim = published.claim
    count = f" ({published.count})" if published.count else ""
    verdicts = f"published: {published.verdict}{count}; reproduced: {reproduced.verdict}"
    if reproduced.verdict != "not run":
        verdicts += f" ({reproduced.count})"
    if reproduced.difference:
        verdicts += f": {reproduced.difference}"
    if reproduced.reasons:
        num_more = len(reproduced.reasons) - MAX_REASONS
        verdicts += f": {'; '.join(reproduced.reasons[:MAX_REASONS])}"
        verdicts += f"; and {num_more} more" if num_more > 0 else ""
    parts = [f"{claim.id}  {claim.sentence}", verdicts, f"note: {claim.note}" if claim.note else ""]
    indent = " " * (len(claim.id) + 2)
    return "\n".join(
        textwrap.fill(part, WIDTH, initial_indent=indent if index else "", subsequent_indent=indent)
        for index, part in enumerate(parts)
        if part
    )
