"""A board for the terminal: one table per data set, marks after the values, reasons below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from bench.errors import BenchError
from bench.report.format import (
    STALE,
    STALE_LEGEND,
    cell_seeds,
    direction_arrow,
    format_catalog,
    format_completeness,
    format_percent,
    format_strata,
    format_value,
    list_problems,
    mark_symbols,
    row_notes,
    single_line,
)
from bench.report.table import Block, BoardTable, Cell, Row
from bench.stats.descriptions import SIGNIFICANT, TIED_WITH_BEST

WIDTH = 100
BEST, SECOND = "¹", "²"


def render_table(table: BoardTable) -> str:
    """Render a board as text that needs neither color nor more than one typeface."""
    title = f"{single_line(table.title)} · {format_completeness(table.completeness)}"
    parts = [title, "=" * min(len(title), WIDTH)]
    if table.scope:
        parts.append(_wrap(table.scope))
    for block in table.datasets:
        parts += ["", _render_block(table, block)]
    legend = (
        f"Means over seeds. {BEST} best  {SECOND} second  † differs from "
        f"{single_line(table.reference)} ({SIGNIFICANT})  ≈ {TIED_WITH_BEST}."
        + (f"  {STALE} {STALE_LEGEND}." if table.any_stale else "")
        + (f"  {table.equivalence}" if table.equivalence else "")
    )
    return "\n".join([*parts, "", _wrap(legend), ""])


def render_strata(table: BoardTable, kind: str) -> str:
    """Render the main metric per stratum of the test cases, as text.

    Raises:
        BenchError: If no result says to which stratum its cases belong, or all are in one.
    """
    parts = []
    for block in table.datasets:
        for strata in (each for each in block.strata if each.kind == kind):
            heads, *lines = format_strata(strata)
            parts += [
                _wrap(f"{single_line(table.title)}, {block.title} by {kind}: {strata.definition}"),
                tabulate(lines, headers=heads, tablefmt="simple", disable_numparse=True),
                *map(_wrap, strata.reversals),
            ]
    if not parts:
        raise BenchError(
            f"The test cases of {table.name} are not divided by {kind}.",
            "Results of earlier versions do not say how: run the board again.",
        )
    return "\n\n".join(parts) + "\n"


def _render_block(table: BoardTable, block: Block) -> str:
    sizes = (
        f" · {block.num_cases:,} cases · {format_catalog(block.num_items, block.num_ids)}"
        if block.num_cases is not None and block.num_items is not None
        else ""
    )
    lines = tabulate(
        [line for heading, rows in block.groups for line in _group_lines(heading, rows)],
        headers=["", *map(_heading, table.metrics)],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left"] * (1 + len(table.metrics)),
    )
    reasons = [
        _wrap(f"! {name} · {what}: {single_line(why, 300)}", indent="  ")
        for name, what, why in list_problems(block)
    ]
    floor = [_wrap(text) for text in (block.floor, block.robustness) if text]
    return "\n".join([f"{single_line(block.title)}{sizes}", lines, *reasons, *floor])


def _group_lines(heading: str, rows: Sequence[Row]) -> list[list[str]]:
    lines = [[f"{single_line(heading)}:"]] if heading else []
    lines += [[_row_name(row), *(_value(row, cell) for cell in row.cells)] for row in rows]
    return lines + [
        [
            single_line(row.gain_name),
            *(format_percent(cell.gain.change) for cell in row.cells if cell.gain),
        ]
        for row in rows
        if row.gain_name
    ]


def _heading(metric: str) -> str:
    """Break a metric's name before its k, so that columns are as narrow as their values."""
    family, _, k = metric.rpartition("@") if "@" in metric else (metric, "", "")
    arrow = direction_arrow(metric)
    return f"{family}\n@{k} {arrow}" if k else f"{metric}\n{arrow}"


def _row_name(row: Row) -> str:
    notes = ", ".join(row_notes(row))
    return f"{single_line(row.name)} ({notes})" if notes else single_line(row.name)


def _value(row: Row, cell: Cell) -> str:
    if cell.mean is None:
        return cell.status
    rank = BEST if cell.best else SECOND if cell.second else ""
    seeds = cell_seeds(row, cell)
    return format_value(cell.mean) + rank + mark_symbols(cell) + (f" {seeds}" if seeds else "")


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)
