"""`bench status`: progress of boards from results, and what is running now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cli import options as o

if TYPE_CHECKING:
    from bench.report.table import BoardTable

WIDTH = 100


@o.expand_groups
def status(
    request: o.RunRequest,
    store: Path = o.STORE,
    results: Path = o.RESULTS,
    as_json: bool = o.AS_JSON,
) -> None:
    """Show which trials succeeded, failed or are missing, and what is running now."""
    from bench.runner.run_directory import find_active_runs, list_running

    tables = bench.report_boards(request, results=results, store=store, with_statistics=False)
    units = [unit for run in find_active_runs(store, results) for unit in list_running(run.folder)]
    if as_json:
        o.print_json({"boards": [_to_json(table) for table in tables], "running": units})
        return
    parts = [_format_board(table) for table in tables]
    if units:
        parts.append("\n".join(["Now:", *map(_format_unit, units)]))
    print("\n\n".join(parts))


def _format_unit(unit: Mapping[str, Any]) -> str:
    attempt = f", attempt {unit['attempt']}" if unit["attempt"] > 1 else ""
    stage = ", ".join(filter(None, [unit["stage"], unit["progress"]]))
    return (
        f"  {unit['description']}: running {stage}, {unit['seconds']:.0f} s, last "
        f"heartbeat {unit['seconds_since_heartbeat']:.0f} s ago "
        f"(process {unit['pid']} on {unit['host']}{attempt})"
    )


def _format_board(table: BoardTable) -> str:
    """Format a board: one line per row and data set, then failures with their reasons."""
    from tabulate import tabulate

    from bench.report.format import format_completeness, group_missing, single_line

    lines, reasons = [], []
    for block, row in table.rows:
        name, dataset = single_line(row.name), single_line(block.title)
        num_ok = sum(outcome.status == "ok" for outcome in row.outcomes)
        others = Counter(outcome.status for outcome in row.outcomes if outcome.status != "ok")
        rest = ", ".join(f"{number} {status}" for status, number in others.items())
        lines.append([dataset, name, f"{num_ok}/{len(row.outcomes)}", rest])
        tried = [outcome for outcome in row.outcomes if outcome.status != "not run"]
        reasons += [
            f"  ! {name} on {dataset}, {what}: {single_line(why, 2 * WIDTH)}"
            for what, why in group_missing(tried)
        ]
    head = f"{single_line(table.title)} · {format_completeness(table.completeness)}"
    rows = tabulate(lines, headers=["data set", "row", "done", ""], disable_numparse=True)
    return "\n".join([head, rows, *reasons])


def _to_json(table: BoardTable) -> dict[str, Any]:
    counts = {
        name: getattr(table.completeness, name) for name in ("ok", "failed", "skipped", "not_run")
    }
    rows = [
        {
            "dataset": block.dataset,
            "row": row.name,
            "trials": [
                {name: getattr(outcome, name) for name in ("seed", "trial", "status", "reason")}
                for outcome in row.outcomes
            ],
        }
        for block, row in table.rows
    ]
    return {"name": table.page, "title": table.title, "trials": counts, "rows": rows}
