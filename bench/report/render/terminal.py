"""A board for the terminal: one table per data set, marks after the values, reasons below."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

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

MAX_WIDTH = 100
NAME_WIDTH = 30
"""Longest line of a first column, which parts of a wide table repeat."""
BEST, SECOND = "¹", "²"


def render_table(table: BoardTable) -> str:
    """Render a board as text that needs neither color nor more than one typeface."""
    title = f"{single_line(table.title)} · {format_completeness(table.completeness)}"
    lines = _wrap(title)
    parts = [lines, "=" * max(map(len, lines.splitlines()))]
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
                fit_table(lines, heads),
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
    lines = fit_table(
        [line for heading, rows in block.groups for line in _group_lines(heading, rows)],
        ["", *map(_heading, table.metrics)],
    )
    reasons = [
        _wrap(f"! {name} · {what}: {single_line(why, 300)}", indent="  ")
        for name, what, why in list_problems(block)
    ]
    lead = (block.lead.floor_text, block.lead.robustness) if block.lead else ()
    checks = [_wrap(text) for text in (*lead, block.external) if text]
    return "\n".join([_wrap(f"{single_line(block.title)}{sizes}"), lines, *reasons, *checks])


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


def output_width() -> int:
    """Return the columns of the terminal, at most 100; 80 where there is none."""
    return min(MAX_WIDTH, shutil.get_terminal_size().columns)


def fit_table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    """Write a table; where it is wider than the terminal, in parts that repeat the first column.

    Args:
        rows: Lines, which may be shorter than the headers.
        headers: Names of the columns, which may have several lines.
    """
    lines = [[*map(str, row), *[""] * (len(headers) - len(row))] for row in rows]
    padded = [f"{head}  ".replace("\n", "  \n") for head in headers]  # as tabulate does
    widths = [
        max(len(part) for cell in column for part in cell.split("\n"))
        for column in zip(padded, *lines, strict=True)
    ]
    return "\n\n".join(
        tabulate(
            [[line[0], *(line[column] for column in part)] for line in lines],
            headers=[headers[0], *(headers[column] for column in part)],
            disable_numparse=True,
            maxcolwidths=[NAME_WIDTH, *[None] * len(part)] if lines else None,
        )
        for part in _divide_columns(widths)
    )


def _divide_columns(widths: Sequence[int]) -> Iterator[list[int]]:
    """Divide all columns but the first into parts that fit the width next to the first."""
    free = output_width() - min(widths[0], NAME_WIDTH)
    part: list[int] = []
    for column in range(1, len(widths)):
        if part and sum(2 + widths[each] for each in (*part, column)) > free:
            yield part
            part = []
        part.append(column)
    yield part


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, output_width(), subsequent_indent=indent)
