"""`bench report`: boards from stored results."""

from __future__ import annotations

from typing import Annotated

import typer

import bench
from bench.cli import options as o


@o.expand_groups
def report(
    request: o.RunRequest,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Show a few test cases with titles; not to be published."),
    ] = False,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Print and render boards from stored results; all that were run if none is named."""
    if as_json:
        from bench.report.assemble import report_json
        from bench.results.run_records import plan_requested

        planned = plan_requested(request, results)
        o.print_json(report_json(planned, bench.load_results(results)))
        return
    from bench.report.render.terminal import render_table

    for table in bench.report_boards(
        request, results=results, store=store, pages=out, examples=examples
    ):
        print(render_table(table))
