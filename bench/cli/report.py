"""`bench report`: the boards again, from results alone."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cli.selection import Cells, Selection
    from bench.plan.trials import Board
    from bench.report.significance import StatisticsCache
    from bench.report.table import BoardTable
    from bench.results.load import ResultSet
    from bench.runner.store import Store


@o.asking
def report(
    asked: o.Asked,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Show a few test cases with titles; not to be published."),
    ] = False,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Print and render boards from stored results; without a selection, all that were run."""
    from bench.report.assemble import report_json
    from bench.results.load import load_results
    from bench.runner.store import Store

    if examples:
        _require_private(out)
    planned = planned_boards(asked, results)
    if as_json:
        print(json.dumps(report_json(planned, load_results(results)), indent=2))
        return
    tables, _ = render_boards(planned, results, out, store=Store(store), examples=examples)
    print_tables(tables)


def _require_private(out: Path) -> None:
    """Refuse to write titles to where they would be committed with the pages."""
    folder = out.resolve()
    if any((one / ".git").exists() for one in (folder, *folder.parents)):
        raise BenchError(
            f"Examples contain titles, and {out} is in a git repository.",
            "Give a folder elsewhere with --out, or view them with `bench serve`.",
        )


def planned_boards(asked: o.Asked, results: Path) -> list[tuple[Board, Cells]]:
    """Plan the boards that were asked for, or all that were run into a folder."""
    from bench.cli.selection import recall, select

    if not asked.names_something and asked != o.Asked():
        raise BenchError(
            "Options that change a board need to know which.", "Add --suite S or --board B."
        )
    selections = [select(asked)] if asked.names_something else recall(results)
    return [board for selection in selections for board in plan_leniently(selection)]


def plan_leniently(selection: Selection) -> list[tuple[Board, Cells]]:
    """Plan a selection; a row that cannot be planned any more is there, with the reason.

    A method of an earlier run may be gone, or have lost a setting: that must not cost the page the
    rest of its rows. What is no mistake of a row, such as an unknown budget, is raised.
    """
    from bench.cli.selection import cells

    try:
        return cells(selection)
    except BenchError:
        rows = [(board, row) for board in selection.boards for row in board.card.rows]
        alone = {(board.name, row.name): _alone(selection, board, row) for board, row in rows}
        if not any(isinstance(found, list) for found in alone.values()):
            raise
    planned = []
    for board in selection.boards:
        of_board: Cells = []
        for row in board.card.rows:
            found = alone[board.name, row.name]
            of_board += (
                found if isinstance(found, list) else _unplanned(selection, board, row, found)
            )
        planned.append((board, of_board))
    return planned


def _alone(selection: Selection, board: Board, row: Any) -> Cells | BenchError:
    """Plan one row of a board as if it were the only one."""
    from bench.cli.selection import cells

    card = board.card.model_copy(update={"rows": (row,), "reference": ""})
    settings = tuple(one for one in selection.settings if _concerns(one, row.method))
    only = dataclasses.replace(
        selection, boards=(dataclasses.replace(board, card=card),), settings=settings
    )
    try:
        return cells(only)[0][1]
    except BenchError as error:
        return error


def _concerns(setting: str, method: str) -> bool:
    """Tell whether a `--set` option may speak of a method: it names it, or no method at all."""
    name, dot, _ = setting.partition("=")[0].partition(".")
    return not dot or name == method


def _unplanned(selection: Selection, board: Board, row: Any, error: BenchError) -> Cells:
    from bench.config import plugins
    from bench.plan.trials import Trial

    asked = selection.rows.model_dump(exclude_none=True)
    rows = plugins.budget_card(board.card.budget).rows.model_copy(update=asked)
    return [
        (
            row,
            Trial(
                method=row.method,
                dataset=dataset,
                seed=seed,
                model=board.card.model,
                rows=rows,
                data_seed=board.card.data_seed,
                settings=row.settings,
                problem=f"{error.message} {error.hint}".strip(),
            ),
        )
        for dataset in board.card.datasets
        for seed in range(board.card.seeds)
    ]


def render_boards(
    planned: Sequence[tuple[Board, Cells]],
    results: Path,
    out: Path,
    *,
    store: Store | None = None,
    examples: bool = False,
) -> tuple[list[BoardTable], list[Path]]:
    """Render boards and the index of boards.

    Args:
        planned: The boards.
        results: Where results are stored.
        out: Where pages are written.
        store: Where statistics are cached and examples are read.
        examples: Whether pages show test cases with titles.

    Returns:
        Tables, and paths of the pages.
    """
    from bench.report.examples import board_examples
    from bench.report.render import pages
    from bench.report.stats_cache import StoredStatistics
    from bench.results.load import load_results

    stored = load_results(results)
    cache: StatisticsCache = {} if store is None else StoredStatistics(store.root)
    tables = assemble_boards(planned, stored, cache)
    written = []
    for table in tables:
        shown = board_examples(table, stored, store) if examples and store is not None else {}
        written += pages.render(table, out, stored, shown)
    pages.render_index(tables, out)
    return tables, written


def assemble_boards(
    planned: Sequence[tuple[Board, Cells]], results: ResultSet, cache: StatisticsCache
) -> list[BoardTable]:
    """Assemble boards with their claims.

    Args:
        planned: The boards.
        results: The results.
        cache: Statistics of equal files, see `bench.report.significance`.
    """
    from bench.report.assemble import assemble
    from bench.report.claims.section import boards_needed, claim_lines

    available = {board.name: (board, row_trials) for board, row_trials in planned}
    available |= _plan_recorded(boards_needed(available) - available.keys(), results.folder)
    tables = []
    for board, row_trials in planned:
        table = assemble(board, row_trials, results, cache=cache)
        claims = claim_lines(table, available, results, cache)
        tables.append(dataclasses.replace(table, claims=claims))
    return tables


def _plan_recorded(names: Collection[str], results: Path) -> dict[str, tuple[Board, Cells]]:
    """Plan boards that were run before and whose rows the claims of other boards name."""
    from bench.cli.selection import RECORDS, recall

    planned: dict[str, tuple[Board, Cells]] = {}
    if any((results / RECORDS / f"{name}.json").is_file() for name in names):
        for selection in recall(results):
            if selection.boards[0].name in names:
                try:
                    planned |= {one[0].name: one for one in plan_leniently(selection)}
                except BenchError as error:  # a method or data set may no longer exist
                    print(f"Left out of the claims: {error.message}", file=sys.stderr)
    return planned


def print_tables(tables: Sequence[BoardTable]) -> None:
    """Print boards to the terminal."""
    from bench.report.render.terminal import render_table

    for table in tables:
        print(render_table(table))
