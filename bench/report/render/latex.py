"""A board as a LaTeX table (booktabs): one block a data set, rows are methods, columns metrics."""

from __future__ import annotations

import re

from bench.metrics.registry import get_metric
from bench.report.format import (
    STALE,
    STALE_LEGEND,
    any_stale,
    brief,
    gap,
    interval,
    number,
    one_line,
    p_value,
    signed,
)
from bench.report.table import Block, BoardTable, Cell, Row

END = " \\\\\n"
AFTER = "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
REASON_CHARS = 60

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "±": r"$\pm$",
    "−": "$-$",
    "≤": r"$\leq$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "≈": r"$\approx$",
    "Δ": r"$\Delta$",
    "\N{NO-BREAK SPACE}": "~",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def escape(text: str) -> str:
    """Make a foreign text harmless in LaTeX; letters of other scripts stay as they are."""
    return _PATTERN.sub(lambda found: _SPECIAL[found[0]], one_line(text))


def before(table: BoardTable) -> str:
    """Open the table, up to the column of the names."""
    return (
        "% Needs \\usepackage{booktabs}.\n"
        "\\begin{table}[t]\n\\centering\\small\n"
        f"\\caption{{{_caption(table)}}}\n"
        f"\\label{{tab:{re.sub('[^a-zA-Z0-9:-]', '-', table.name)}}}\n"
        "\\begin{tabular}{l"
    )


def _caption(table: BoardTable) -> str:
    seeds = max(
        (cell.expected_seeds for block in table.datasets for row in block.rows
         for cell in row.cells), default=1,
    )  # fmt: skip
    parts = [
        f"{table.title.rstrip('.')}.",
        table.scope,
        f"Means over {seeds} seeds." if seeds > 1 else "A single seed.",
        "Best in bold, second underlined; †: differs from "
        f"{table.reference}, p ≤ .05 after Holm; ≈: not told apart from the best.",
        f"{STALE}: {STALE_LEGEND}." if any_stale(table) else "",
        f"In parentheses: as published by {table.source.paper}." if table.source else "",
    ]
    return " ".join(escape(part) for part in parts if part)


def head(metric: str) -> str:
    """Name a column, with an arrow to the better side."""
    side = "uparrow" if get_metric(metric).higher_is_better else "downarrow"
    return f"{escape(metric)} $\\{side}$"


def block(one: Block) -> str:
    """Open the rows of a data set, with its name across all columns."""
    return f"\\midrule\n\\multicolumn{{{{n}}}}{{l}}{{\\textit{{{escape(one.title)}}}}} \\\\\n"


def name(row: Row) -> str:
    """Name a row, and say why where it has no value at all."""
    nothing = gap(row)
    if nothing is None:
        return escape(row.name)
    why = f"{nothing[0]}: {brief(nothing[1], REASON_CHARS)}"
    return f"{escape(row.name)} {{\\scriptsize ({escape(why)})}}"


def pieces(cell: Cell) -> tuple[str, ...]:
    """Write a value with its marks, then deviation, published value, interval and p apart."""
    if cell.mean is None:
        return (f"\\emph{{{cell.status}}}", "", _small(_published(cell)), "", "")
    value = number(cell.mean).replace("−", "$-$")
    if cell.best:
        value = f"\\textbf{{{value}}}"
    elif cell.second:
        value = f"\\underline{{{value}}}"
    marks = (r"\dagger" if cell.significant else "") + (r"\approx" if cell.tied else "")
    marks += r"\ddagger" if cell.stale else ""
    value += f"$^{{{marks}}}$" if marks else ""
    value += f" {{\\scriptsize {seeds} seeds}}" if (seeds := _seeds(cell)) else ""
    test = cell.comparison
    return (
        value,
        f" {{\\scriptsize$\\pm${number(cell.sd)}}}" if cell.sd is not None else "",
        _small(_published(cell)),
        _small(f"Δ {signed(test.difference)} {interval(test.low, test.high)}") if test else "",
        _small(f"p {p_value(test.p_adjusted)}") if test else "",
    )


def _seeds(cell: Cell) -> str:
    return "" if cell.n_seeds == cell.expected_seeds else f"{cell.n_seeds}/{cell.expected_seeds}"


def _published(cell: Cell) -> str:
    if cell.published is None:
        return ""
    apart = cell.from_published
    printed = number(cell.published.value)
    return f"({printed})" if apart is None else f"({printed}, {signed(apart)})"


def _small(text: str) -> str:
    return f" {{\\scriptsize {escape(text)}}}" if text else ""
