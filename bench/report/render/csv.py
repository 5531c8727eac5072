"""A board's lines of CSV: one per data set × row × metric, numbers in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bench.report.format import one_line
from bench.report.table import Block, BoardTable, Cell, Row

COLUMNS = (
    "board",
    "dataset",
    "row",
    "method",
    "metric",
    "mean",
    "sd",
    "n_seeds",
    "expected_seeds",
    "difference",
    "low",
    "high",
    "p",
    "p_adjusted",
    "published",
    "from_published",
    "status",
    "reason",
    "stale",
)
# A spreadsheet takes a cell that begins like this for a formula, and would run it.
FORMULA_STARTS = ("=", "+", "-", "@")


def header_line() -> str:
    """Write the names of the columns."""
    return _written(COLUMNS)


def line(table: BoardTable, block: Block, row: Row, cell: Cell) -> str:
    """Write one cell's line; what is unknown is empty."""
    return _written(_fields(table, block, row, cell))


def _written(fields: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def _fields(table: BoardTable, block: Block, row: Row, cell: Cell) -> list[str]:
    test = cell.comparison
    numbers = (
        cell.mean,
        cell.sd,
        cell.n_seeds,
        cell.expected_seeds,
        test and test.difference,
        test and test.low,
        test and test.high,
        test and test.p,
        test and test.p_adjusted,
        cell.published and cell.published.value,
        cell.from_published,
    )
    return [
        *(table.name, block.dataset, harmless(row.name), row.method, cell.metric),
        *("" if value is None else repr(value) for value in numbers),
        cell.status,
        harmless(cell.reason or cell.refusal),
        harmless(cell.stale),
    ]


def harmless(value: str) -> str:
    """Bring a foreign text into one line that no spreadsheet takes for a formula."""
    line = one_line(value)
    return f"'{line}" if line.startswith(FORMULA_STARTS) else line
