"""`bench report`: the boards again, from results alone."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cli.selection import Cells, Selection
    from bench.plan.trials import Board
    from bench.report.costs import Ledger
    from bench.report.significance import Memory
    from bench.report.table import BoardTable
    from bench.runner.store import Store


@o.asking
def report(
    asked: o.Asked,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    as_json: o.AsJson = False,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Tell a few test cases in titles; not to be published."),
    ] = False,
    store: o.StoreFolder = o.STORE,
) -> None:
    """Print and render boards from stored results; without a selection, all that were run."""
    from bench.report.assemble import report_json
    from bench.runner.store import Store

    if examples:
        _require_private(out)
    planned = planned_boards(asked, results)
    if as_json:
        print(json.dumps(report_json(planned, results), indent=2))
        return
    tables, _ = render_boards(planned, results, out, store=Store(store), examples=examples)
    print_tables(tables)


def _require_private(out: Path) -> None:
    """Refuse to write titles to where they would be committed with the pages."""
    folder = out.resolve()
    if any((one / ".git").exists() for one in (folder, *folder.parents)):
        raise BenchError(
            f"Examples hold titles, and {out} lies in a git repository.",
            "Give a folder elsewhere by --out, or look at them by `bench serve`.",
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
    """Tell whether a `--set` option may be for a method: it names this method, or none at all."""
    from bench.config import plugins

    name = setting.partition("=")[0].partition(".")[0]
    return name == method or name not in plugins.method_names()


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
    """Render boards and the list of all boards that were run.

    Args:
        planned: The boards.
        results: Where results are stored.
        out: Where pages are written.
        store: Where statistics are kept and examples found.
        examples: Whether pages tell test cases in titles.

    Returns:
        Tables, and paths of the pages.
    """
    from bench.report.render import pages
    from bench.report.stats_cache import Kept

    known = all_boards(planned, results)
    shown = [board.name for board, _ in planned]
    memory: Memory = {} if store is None else Kept(store.root)
    found = assemble_boards(planned, known, results, memory, store if examples else None)
    written = [path for table, ledger in found for path in pages.render(table, out, ledger)]
    listed = {table.name: table for table, _ in found}
    listed |= states({name: known[name] for name in known if name not in shown}, results)
    pages.render_index([listed[name] for name in sorted(listed)], out)
    return [table for table, _ in found], written


def all_boards(
    planned: Sequence[tuple[Board, Cells]], results: Path
) -> dict[str, tuple[Board, Cells]]:
    """Add to planned boards the others that were run into a folder, by name."""
    from bench.cli.selection import RECORDS, recall

    known = {board.name: (board, row) for board, row in planned}
    if not any((results / RECORDS).glob("*.json")):
        return known
    for selection in recall(results):
        if selection.boards[0].name in known:
            continue
        try:
            known |= {one[0].name: one for one in plan_leniently(selection)}
        except BenchError as error:  # a method or data set of an earlier run may be gone
            print(f"Left out of the list: {error.message}", file=sys.stderr)
    return known


def assemble_boards(
    planned: Sequence[tuple[Board, Cells]],
    known: dict[str, tuple[Board, Cells]],
    results: Path,
    memory: Memory,
    store: Store | None = None,
) -> list[tuple[BoardTable, Ledger]]:
    """Assemble boards with their claims, and what stands behind them.

    Args:
        planned: The boards.
        known: All boards at hand, for claims that speak of rows of several.
        results: Where results are stored.
        memory: Statistics of equal files, see `bench.report.significance`.
        store: Where examples are found; without it there are none.
    """
    from bench.report import costs as ledger
    from bench.report.assemble import assemble
    from bench.report.claims.section import claim_lines

    found = []
    for board, row in planned:
        table = assemble(board, row, results, memory=memory)
        claims = claim_lines(table, known, results, memory)
        behind = ledger.read(table, results, store)
        found.append((dataclasses.replace(table, claims=claims), behind))
    return found


def states(known: dict[str, tuple[Board, Cells]], results: Path) -> dict[str, BoardTable]:
    """Assemble boards without tests: what a list of boards needs."""
    from bench.report.assemble import assemble

    return {name: assemble(*one, results, tested=False) for name, one in known.items()}


def print_tables(tables: Sequence[BoardTable]) -> None:
    """Print boards to the terminal."""
    from bench.report.render.terminal import render_table

    for table in tables:
        print(render_table(table))
