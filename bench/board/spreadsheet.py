"""A board as CSV: one line per data set × row × metric, numbers in full precision."""

from __future__ import annotations

import csv
import io

from bench.board.table import Block, BoardTable, Cell, Row
from bench.board.wording import one_line

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
    "status",
    "reason",
)
# A spreadsheet takes a cell that begins like this for a formula, and would run it.
FORMULA_STARTS = ("=", "+", "-", "@")


def render_csv(table: BoardTable) -> bytes:
    """Render a board as UTF-8 CSV with a header; what is unknown is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for block in table.datasets:
        for row in block.rows:
            for cell in row.cells:
                writer.writerow(_line(table, block, row, cell))
    return text.getvalue().encode()


def _line(table: BoardTable, block: Block, row: Row, cell: Cell) -> list[str]:
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
    )
    return [
        *(table.name, block.dataset, one_line(row.name), row.method, cell.metric),
        *("" if value is None else repr(value) for value in numbers),
        cell.status,
        _harmless(cell.reason or cell.refusal),
    ]


def _harmless(value: str) -> str:
    line = one_line(value)
    return f"'{line}" if line.startswith(FORMULA_STARTS) else line
