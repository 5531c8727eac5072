"""A board and its costs as CSV, numbers in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from bench.report.costs import RowCost
from bench.report.format import single_line
from bench.report.table import Block, BoardTable, Cell, Row

COMPARISON = ("difference", "low", "high", "relative", "p", "p_adjusted", "question")
EQUIVALENCE = ("bound", "p_equivalent", "p_equivalent_adjusted", "equivalent")
"""Columns that only boards with bounds of equivalence have."""
COLUMNS = (
    "board", "dataset", "group", "row", "method", "metric", "mean", "sd", "n_seeds",
    "expected_seeds", "reference", *COMPARISON, "published",
    "from_published", "gain", "gain_low", "gain_high", "published_gain", "status", "reason",
    "stale",
)  # fmt: skip
COST_COLUMNS = (
    "board", "dataset", "row", "num_trials", "seconds_standalone", "seconds_amortized",
    "seconds_exclusive", "peak_memory_mib",
)  # fmt: skip
# Spreadsheets evaluate a cell that begins like this as a formula.
FORMULA_STARTS = ("=", "+", "-", "@")


def render_csv(table: BoardTable) -> str:
    """Write one line per data set × row × metric; what is unknown is empty."""
    cells = [(block, row, cell) for block, row in table.rows for cell in row.cells]
    tests = [cell.comparison for _, _, cell in cells]
    further = EQUIVALENCE if any(test and test.bound is not None for test in tests) else ()
    lines = (
        [*_fields(table, *cell), *(_number(getattr(test, name, None)) for name in further)]
        for cell, test in zip(cells, tests, strict=True)
    )
    return _write((*COLUMNS, *further), lines)


def render_costs_csv(table: BoardTable, costs: Sequence[RowCost]) -> str:
    """Write one line per data set × row, seconds to the millisecond."""
    lines = [
        [
            table.name,
            neutralize(cost.dataset),
            neutralize(cost.row),
            str(cost.num_trials),
            f"{cost.standalone:.3f}",
            f"{cost.amortized:.3f}",
            f"{cost.exclusive:.3f}",
            f"{cost.peak_memory_mib:.3f}",
        ]
        for cost in costs
    ]
    return _write(COST_COLUMNS, lines)


def _write(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *lines])
    return text.getvalue()


def _fields(table: BoardTable, block: Block, row: Row, cell: Cell) -> list[str]:
    gain = cell.gain
    numbers = (
        *(getattr(cell.comparison, name, None) for name in COMPARISON),
        cell.published and cell.published.value,
        cell.difference_from_published,
        gain and gain.change,
        gain and gain.low,
        gain and gain.high,
        gain and gain.published and gain.published.value / 100,
    )
    values = (cell.mean, cell.sd, cell.num_seeds, cell.expected_seeds)
    return [
        *(table.name, block.dataset, neutralize(row.group), neutralize(row.name)),
        *(row.method, cell.metric),
        *map(_number, values),
        neutralize(row.compared_with),
        *map(_number, numbers),
        cell.status,
        neutralize(cell.reason or cell.refusal),
        neutralize(cell.stale),
    ]


def _number(value: object) -> str:
    return "" if value is None else str(value)


def neutralize(value: str) -> str:
    """Put a foreign text on one line that no spreadsheet evaluates as a formula."""
    line = single_line(value)
    return f"'{line}" if line.startswith(FORMULA_STARTS) else line
