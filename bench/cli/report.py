"""`bench report`: the boards again, from results alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.board.table import BoardTable
    from bench.cli.selection import Cells
    from bench.trials import Board


@o.asking
def report(
    asked: o.Asked,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
) -> None:
    """Print and render boards from stored results; without a selection, all that were run."""
    from bench.board.assemble import report_json
    from bench.cli.selection import cells, recall, select

    if not asked.names_something and asked != o.Asked():
        raise BenchError(
            "Options that change a board need to know which.", "Add --suite S or --board B."
        )
    selections = [select(asked)] if asked.names_something else recall(results)
    planned = [cell for selection in selections for cell in cells(selection)]
    if as_json:
        print(json.dumps(report_json(planned, results), indent=2))
        return
    tables, _ = render_boards(planned, results, out)
    print_tables(tables)


def render_boards(
    planned: Sequence[tuple[Board, Cells]], results: Path, out: Path
) -> tuple[list[BoardTable], list[Path]]:
    """Render boards and the list of all boards that were run; return tables and pages."""
    from bench.board import pages
    from bench.board.assemble import assemble
    from bench.cli.selection import cells, recall

    tables = [assemble(board, row, results) for board, row in planned]
    written = [path for table in tables for path in pages.render(table, out)]
    known = {table.name: table for table in tables}
    for selection in recall(results):
        try:
            others = [one for one in cells(selection) if one[0].name not in known]
        except BenchError as error:  # a method or data set of an earlier run may be gone
            print(f"Left out of the list: {error.message}", file=sys.stderr)
            continue
        for board, row in others:
            known[board.name] = assemble(board, row, results, judged=False)
    pages.render_index([known[name] for name in sorted(known)], out)
    return tables, written


def print_tables(tables: Sequence[BoardTable]) -> None:
    """Print boards to the terminal."""
    from bench.board.terminal import render_table

    for table in tables:
        print(render_table(table))
