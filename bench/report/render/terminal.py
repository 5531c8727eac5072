"""A board for the terminal: one table a data set, marks behind the values, reasons below."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from bench.report.format import (
    STALE,
    STALE_LEGEND,
    any_stale,
    arrow,
    cell_seeds,
    completeness,
    number,
    one_line,
    problems,
    seeds_word,
)
from bench.report.table import Block, BoardTable, Cell, Row

WIDTH = 100
BEST, SECOND, SIGNIFICANT, TIED = "¹", "²", "†", "≈"


def render_table(table: BoardTable) -> str:
    """Render a board as text that needs neither color nor more than one typeface."""
    head = f"{one_line(table.title)} · {completeness(table.completeness)}"
    parts = [head, "=" * min(len(head), WIDTH)]
    if table.scope:
        parts.append(_wrapped(table.scope))
    for block in table.datasets:
        parts += ["", _block(table, block)]
    return "\n".join([*parts, "", _wrapped(_legend(table)), ""])


def _block(table: BoardTable, block: Block) -> str:
    sizes = (
        f" · {block.num_cases:,} cases · {block.num_items:,} items"
        if block.num_cases is not None and block.num_items is not None
        else ""
    )
    lines = tabulate(
        [[_name(row), *(_value(row, cell) for cell in row.cells)] for row in block.rows],
        headers=["", *(_head(metric) for metric in table.metrics)],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left"] * (1 + len(table.metrics)),
    )
    reasons = [
        _wrapped(f"! {name} · {what}: {one_line(why, 300)}", indent="  ")
        for name, what, why in problems(block)
    ]
    return "\n".join([f"{one_line(block.title)}{sizes}", lines, *reasons])


def _head(metric: str) -> str:
    """Break a metric's name before its k: columns as narrow as their values fit more screens."""
    family, _, k = metric.rpartition("@") if "@" in metric else (metric, "", "")
    return f"{family}\n@{k} {arrow(metric)}" if k else f"{metric}\n{arrow(metric)}"


def _name(row: Row) -> str:
    notes = [
        "reference" if row.reference else "",
        "" if row.ranked else "not ranked",
        seeds_word(row),
    ]
    kept = ", ".join(note for note in notes if note)
    return f"{one_line(row.name)} ({kept})" if kept else one_line(row.name)


def _value(row: Row, cell: Cell) -> str:
    if cell.mean is None:
        return cell.status
    marks = [
        BEST if cell.best else SECOND if cell.second else "",
        SIGNIFICANT if cell.significant else "",
        TIED if cell.tied else "",
        STALE if cell.stale else "",
    ]
    seeds = cell_seeds(row, cell)
    return number(cell.mean) + "".join(marks) + (f" {seeds}" if seeds else "")


def _legend(table: BoardTable) -> str:
    return (
        f"Means over seeds. {BEST} best  {SECOND} second  {SIGNIFICANT} differs from "
        f"{one_line(table.reference)} (p ≤ .05 after Holm)  {TIED} not told apart from the best, "
        "which is no proof of equality."
        + (f"  {STALE} {STALE_LEGEND}." if any_stale(table) else "")
    )


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)
