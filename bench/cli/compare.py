"""`bench compare`: two methods, metric by metric, with one sentence for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bench
from bench.cli import options as o


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Row or method of a board that was run; folder "
            "<results>/<dataset>/<method>/<hash>; or ranking file (JSONL, parquet). A word with a "
            "slash is a path.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The reference, named likewise.")],
    results: o.ResultsFolder = o.RESULTS,
    board: o.BoardName = None,
    dataset: o.OneDataset = None,
    metric: o.Metrics = None,
    catalog: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            "--catalogue",
            metavar="FILE",
            help="All items of the ranking files: id, title, categories.",
        ),
    ] = None,
    category: o.Categories = None,
    equivalence: o.Equivalence = None,
    as_json: o.AsJson = False,
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
