"""A board and its costs as CSV, numbers in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from bench.report.costs import RowCost
from bench.report.format import single_line
from bench.report.table import Block, BoardTable, Cell, Row

COMPARISON = ("difference", "low", "high", "relative", "p", "p_adjusted", "question")
EQUIVALENCE = ("bound", "p_equivalent", "p_equivalent_adjusted", "equivalent")
"""Columns that only boards with bounds of equivalence have."""
SECONDS = ("standalone", "amortized", "exclusive")
# Spreadsheets evaluate a cell that begins like this as a formula.
FORMULA_STARTS = ("=", "+", "-", "@")


def render_csv(table: BoardTable) -> str:
    """Write one line per data set × row × metric; what is unknown is empty."""
    cells = [(block, row, cell) for block, row in table.rows for cell in row.cells]
    tests = [cell.comparison for _, _, cell in cells]
    further = EQUIVALENCE if any(test and test.bound is not None for test in tests) else ()
    return _write(
        [
            {**_fields(table, *cell), **{name: getattr(test, name, None) for name in further}}
            for cell, test in zip(cells, tests, strict=True)
        ]
    )


def render_costs_csv(table: BoardTable, costs: Sequence[RowCost]) -> str:
    """Write one line per data set × row, seconds to the millisecond."""
    return _write(
        [
            {
                "board": table.name,
                "dataset": neutralize(cost.dataset),
                "row": neutralize(cost.row),
                "num_trials": cost.num_trials,
                **{f"seconds_{name}": f"{getattr(cost, name):.3f}" for name in SECONDS},
                "peak_memory_mib": f"{cost.peak_memory_mib:.3f}",
            }
            for cost in costs
        ]
    )


def _write(lines: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    heads = list(lines[0]) if lines else []
    csv.writer(text, lineterminator="\n").writerows([heads, *(line.values() for line in lines)])
    return text.getvalue()


def _fields(table: BoardTable, block: Block, row: Row, cell: Cell) -> dict[str, object]:
    gain = cell.gain
    return {
        "board": table.name,
        "dataset": block.dataset,
        "group": neutralize(row.group),
        "row": neutralize(row.name),
        "method": row.method,
        "metric": cell.metric,
        "mean": cell.mean,
        "sd": cell.sd,
        "n_seeds": cell.num_seeds,
        "expected_seeds": cell.expected_seeds,
        "reference": neutralize(row.compared_with),
        **{name: getattr(cell.comparison, name, None) for name in COMPARISON},
        "published": cell.published and cell.published.value,
        "from_published": cell.difference_from_published,
        "gain": gain and gain.change,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "published_gain": gain and gain.published and gain.published.value / 100,
        "status": cell.status,
        "reason": neutralize(cell.reason or cell.refusal),
        "stale": neutralize(cell.stale),
    }


def neutralize(value: str) -> str:
    """Put a foreign text on one line that no spreadsheet evaluates as a formula."""
    line = single_line(value)
    return f"'{line}" if line.startswith(FORMULA_STARTS) else line
