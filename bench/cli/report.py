"""`bench report`: boards from stored results."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o
from bench.errors import BenchError


@o.expand_groups
def report(
    request: o.RunRequest,
    results: Path = o.RESULTS,
    out: Path = o.PAGES,
    as_json: bool = o.AS_JSON,
    examples: bool = o.flag(
        "--examples", "Show a few test cases with titles; not to be published."
    ),
    exclude: str = o.option("--exclude", "ties|cold|seen", "Leave out these test cases.", ""),
    by: str | None = o.option(
        "--by",
        "|".join(("ties", "popularity", "transition", "history", "activity")),
        "Show every mean over cases per stratum of the test cases instead.",
    ),
    store: Path = o.STORE,
) -> None:
    """Print and render boards from stored results; all that were run if none is named."""
    if as_json:
        if by:
            raise BenchError("--by and --json cannot be given together.", "Leave one out.")
        from bench.report.assemble import report_json
        from bench.results.run_records import plan_requested
        from bench.results.subset import ResultSubset

        stored = bench.load_results(results)
        stored = ResultSubset(stored, exclude) if exclude else stored
        o.print_json(report_json(plan_requested(request, results), stored))
        return
    from bench.report.render.terminal import render_strata, render_table

    for table in bench.report_boards(
        request, results=results, store=store, pages=out, examples=examples, exclude=exclude
    ):
        print(render_strata(table, by) if by else render_table(table))
