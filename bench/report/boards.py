"""Boards from results: tables with statistics and claims, and their pages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench.config.request import PUBLISHED, RESULTS, STORE, DataOptions, RunRequest
from bench.config.scoped_cache import one_state
from bench.errors import BenchError
from bench.files import write_atomic
from bench.plan.board_selection import PlannedBoards, distinct_trials, plan_boards
from bench.report.assemble import assemble
from bench.report.claims.judge import boards_needed, claim_lines
from bench.report.data_pages.count_page import render_tables, requested_tables
from bench.report.examples import board_examples
from bench.report.render import pages as page_files
from bench.report.significance import StatisticsCache
from bench.report.stats_cache import StoredStatistics
from bench.report.table import BoardTable
from bench.results.load import ResultSet, load_results
from bench.results.run_records import list_recorded, plan_recorded, plan_requested, read_board
from bench.results.schema import copy_result
from bench.results.subset import EXCLUDED, ResultSubset
from bench.runner.store import Store

COPIED = "results"
"""Folder of the results behind published pages, next to them."""


def report_boards(
    request: RunRequest | None = None,
    *,
    results: Path | str = RESULTS,
    store: Path | str = STORE,
    pages: Path | str | None = None,
    examples: bool = False,
    exclude: str = "",
    with_statistics: bool = True,
) -> list[BoardTable]:
    """Assemble boards from stored results, and render their pages.

    Args:
        request: The boards; None for all that were run into `results`.
        results: Folder of the results.
        store: Folder of the artifacts, where statistics are cached.
        pages: Folder to write Markdown, HTML, LaTeX and CSV to; None writes nothing.
        examples: Whether pages show a few test cases with titles; not to be published.
        exclude: Test cases to leave out, a key of `bench.results.subset.EXCLUDED`; every metric is
            recomputed from the stored rankings.
        with_statistics: Whether to compute tests and claims; False gives values only.

    Raises:
        BenchError: If nothing was run, or pages with titles would be written into a git repository.
    """
    if examples and pages is not None:
        _refuse_repository(Path(pages))
    if pages is not None and request is not None and (names := requested_tables(request)):
        render_tables(names, DataOptions(store=Path(store), offline=True), Path(pages))
        if request.board in names:
            page_files.render_index(Path(pages))
            return []
    planned = plan_requested(request or RunRequest(), Path(results))
    stored = load_results(results)
    if exclude:
        stored, planned = ResultSubset(stored, exclude), name_subset(planned, exclude)
    if pages is not None:
        return render_boards(planned, stored, Path(pages), store=Path(store), examples=examples)[0]
    if with_statistics:
        return assemble_boards(planned, stored, StoredStatistics(Path(store)))
    return [assemble(board, row_trials, stored, tested=False) for board, row_trials in planned]


def publish(
    board: str,
    *,
    results: Path | str = RESULTS,
    store: Path | str = STORE,
    pages: Path | str = PUBLISHED,
) -> list[Path]:
    """Copy a board's results to a folder that is committed, and render the board from the copy.

    Args:
        board: Name of the board, or of its pages if it was changed.
        results: Folder of the results.
        store: Folder of the artifacts, where statistics are cached.
        pages: The folder.

    Returns:
        The paths of the board's pages. `report_boards` on the copied results, `<pages>/results`,
        renders equal ones; `bench check submission` recomputes them.

    Raises:
        BenchError: If the board was not run, or has no result.
    """
    record = list_recorded(Path(results)).get(board)
    if record is None:
        raise BenchError(
            f"{board} was not run into {results}.",
            f"bench run --board {board}; a board that is changed needs --name.",
        )
    planned = plan_boards(read_board(record), lenient=True)
    stored, copied = load_results(results), Path(pages) / COPIED
    trials = {trial.id for trial in distinct_trials(planned)}
    copies = [result for result in stored if result.trial in trials]
    if not any(result.status == "ok" for result in copies):
        raise BenchError(f"No trial of {board} has a result.", f"bench run --board {board}")
    for result in copies:
        copy_result(result, stored.folder, copied)
    write_atomic(copied / record.relative_to(stored.folder), record.read_bytes())
    return render_boards(planned, load_results(copied), Path(pages), store=Path(store))[1]


def render_boards(
    planned: PlannedBoards, stored: ResultSet, out: Path, *, store: Path, examples: bool = False
) -> tuple[list[BoardTable], list[Path]]:
    """Render boards and the index of boards.

    `store` caches statistics and has the examples: test cases with titles.

    Returns:
        Tables, and paths of the pages.
    """
    tables = assemble_boards(planned, stored, StoredStatistics(store))
    written = []
    for table in tables:
        cases = board_examples(table, stored, Store(store)) if examples else {}
        written += page_files.render(table, out, stored, cases)
    page_files.render_index(out)
    return tables, written


def name_subset(planned: PlannedBoards, exclude: str) -> PlannedBoards:
    """Name boards by the test cases that are left out, in their titles and pages."""
    named = []
    for board, row_trials in planned:
        title = f"{board.card.title}, without {EXCLUDED[exclude][2]}"
        card = board.card.model_copy(update={"title": title})
        page = f"{board.page or board.name}-without-{exclude}"
        named.append((dataclasses.replace(board, page=page, card=card), row_trials))
    return named


@one_state()
def assemble_boards(
    planned: PlannedBoards, results: ResultSet, cache: StatisticsCache
) -> list[BoardTable]:
    """Assemble boards with their statistics and claims."""
    tables = []
    for board, row_trials in planned:
        table = assemble(board, row_trials, results, cache=cache)
        available = {pair[0].name: pair for pair in planned if pair[0].completes(board)}
        available[board.name] = board, row_trials
        others = boards_needed(board.name) - available.keys()
        available |= {pair[0].name: pair for pair in plan_recorded(others, results.folder, board)}
        claims = claim_lines(table, available, results, cache)
        tables.append(dataclasses.replace(table, claims=claims))
    return tables


def _refuse_repository(folder: Path) -> None:
    """Refuse to write titles to where they would be committed with the pages."""
    absolute = folder.resolve()
    if any((parent / ".git").exists() for parent in (absolute, *absolute.parents)):
        raise BenchError(
            f"Examples contain titles, and {folder} is in a git repository.",
            "Give a folder elsewhere with --out, or view them with `bench serve`.",
        )
