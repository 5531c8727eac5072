"""`bench compare`: two methods, metric by metric, with one sentence for a paper."""

from __future__ import annotations

from pathlib import Path

import typer

import bench
from bench.cli import options as o


def compare(
    a: str = o.argument(
        "A",
        "Row or method of a board that was run; folder <results>/<dataset>/<method>/<hash>; or "
        "ranking file (JSONL, parquet). A word with a slash is a path.",
    ),
    b: str = o.argument("B", "The reference, named likewise."),
    results: Path = o.RESULTS,
    board: str | None = o.BOARD,
    dataset: str | None = o.DATASET,
    metric: list[str] | None = o.METRICS,
    catalog: Path | None = typer.Option(
        None,
        *("--catalog", "--catalogue"),
        metavar="FILE",
        help="All items of the ranking files: id, title, categories.",
    ),
    category: list[str] | None = o.CATEGORIES,
    equivalence: list[str] | None = o.EQUIVALENCE,
    as_json: bool = o.AS_JSON,
) -> None:
    """Compare A with B: difference, interval, p (Holm), effect size, seeds, and one sentence."""
    from bench.report.compare.pairwise import format_report, report_to_json

    report = bench.compare(
        a,
        b,
        results=results,
        board=board,
        dataset=dataset,
        metrics=metric or (),
        catalog=catalog,
        categories=category or (),
        equivalence=equivalence or (),
    )
    if as_json:
        o.print_json(report_to_json(report))
        return
    print(format_report(report))
