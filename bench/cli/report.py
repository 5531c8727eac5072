"""`bench report`: the boards again, from results alone."""

from __future__ import annotations

import json

from bench.cli import options as o


@o.asking
def report(
    asked: o.Asked,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
) -> None:
    """Print and render boards from stored results; without a selection, all that were run."""
    from bench.board import pages
    from bench.board.assemble import assemble, report_json
    from bench.cli.selection import cells, recall, select

    selections = [select(asked)] if asked.names_something else recall(results)
    planned = [cell for selection in selections for cell in cells(selection)]
    if as_json:
        print(json.dumps(report_json(planned, results), indent=2))
        return
    tables = [assemble(one, row, results) for one, row in planned]
    for table in tables:
        pages.render(table, out)
    print_tables(tables)


def print_tables(tables: list) -> None:  # type: ignore[type-arg]
    """Print boards to the terminal."""
    from bench.board.terminal import render_table

    for table in tables:
        print(render_table(table))
