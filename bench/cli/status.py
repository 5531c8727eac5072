"""`bench status`: how far the boards are, from results, and what runs now, from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.cli import options as o

if TYPE_CHECKING:
    from bench.report.table import Block, BoardTable, Row
    from bench.results.outcomes import Outcome

WIDTH = 100


@o.asking
def status(
    asked: o.Asked,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
    as_json: o.AsJson = False,
) -> None:
    """Say which trials are done, failed or missing; without a selection, of all boards that ran.

    Then what runs now into these results, and when it last gave a sign of life.
    """
    from bench.cli.report import planned_boards
    from bench.report.assemble import assemble
    from bench.results.load import load_results
    from bench.runner.run_directory import find_active_runs

    stored = load_results(results)
    tables = [assemble(*one, stored, tested=False) for one in planned_boards(asked, results)]
    running = [unit for run in find_active_runs(store, results) for unit in run.list_units()]
    if as_json:
        boards = [_content(one) for one in tables]
        print(json.dumps({"boards": boards, "running": running}, indent=2))
        return
    print("\n\n".join([*(_text(one) for one in tables), *_now(running)]))


def _now(running: Sequence[dict[str, Any]]) -> list[str]:
    """Write what runs now, a line a unit of work."""
    lines = [
        f"  {one['description']}: running {one['stage']}, {one['seconds']:.0f} s, last heartbeat "
        f"{one['seconds_since_heartbeat']:.0f} s ago (process {one['pid']} on {one['host']}"
        + (f", attempt {one['attempt']})" if one["attempt"] > 1 else ")")
        for one in running
    ]
    return ["\n".join(["Now:", *lines])] if lines else []


def _text(table: BoardTable) -> str:
    """Write a board: a line a row and data set, then what failed and why."""
    from tabulate import tabulate

    from bench.report.format import format_completeness, group_missing, single_line

    lines, reasons = [], []
    for block in table.datasets:
        for row in block.rows:
            name, dataset = single_line(row.name), single_line(block.title)
            lines.append([dataset, name, _done(row), _rest(row)])
            reasons += [
                f"  ! {name} on {dataset}, {what}: {single_line(why, 2 * WIDTH)}"
                for what, why in group_missing(_troubled(row))
            ]
    head = f"{single_line(table.title)} · {format_completeness(table.completeness)}"
    shown = tabulate(lines, headers=["data set", "row", "done", ""], disable_numparse=True)
    return "\n".join([head, shown, *reasons])


def _done(row: Row) -> str:
    return f"{len(row.successful)}/{len(row.outcomes)}"


def _rest(row: Row) -> str:
    words = [one.status for one in row.outcomes if one.status != "ok"]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _troubled(row: Row) -> list[Outcome]:
    """Leave out trials that simply wait: there is nothing to say about them."""
    return [one for one in row.outcomes if one.status != "not run"]


def _content(table: BoardTable) -> dict[str, Any]:
    done = table.completeness
    return {
        "name": table.name,
        "title": table.title,
        "trials": {
            "ok": done.ok,
            "failed": done.failed,
            "skipped": done.skipped,
            "not_run": done.not_run,
        },
        "rows": [_row(block, row) for block in table.datasets for row in block.rows],
    }


def _row(block: Block, row: Row) -> dict[str, Any]:
    return {
        "dataset": block.dataset,
        "row": row.name,
        "trials": [
            {"seed": one.seed, "trial": one.trial, "status": one.status, "reason": one.reason}
            for one in row.outcomes
        ],
    }
