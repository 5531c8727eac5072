"""A board as a LaTeX table (booktabs): one part per data set, with its groups of rows."""

from __future__ import annotations

import re

from bench.metrics.registry import get_metric
from bench.report import format as w
from bench.report.table import BoardTable, Cell, Row
from bench.stats.descriptions import TIED_WITH_BEST

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
    "≡": r"$\equiv$",
    "Δ": r"$\Delta$",
    "\N{NO-BREAK SPACE}": "~",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def escape(text: str) -> str:
    """Make a foreign text harmless in LaTeX; letters of other scripts stay as they are."""
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], w.single_line(text))


def render_latex(table: BoardTable) -> str:
    """Render a board as one table, with means, deviations and published values."""
    num_metrics = len(table.metrics)
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}[t]",
        "\\centering\\small",
        f"\\caption{{{_caption(table)}}}",
        f"\\label{{tab:{re.sub('[^a-zA-Z0-9:-]', '-', table.name)}}}",
        f"\\begin{{tabular}}{{l{'r' * num_metrics}}}",
        "\\toprule",
        _line(["", *map(_heading, table.metrics)]),
    ]
    for block in table.datasets:
        lines.append("\\midrule")
        title = f"\\textit{{{escape(block.title)}}}"
        lines.append(_line([f"\\multicolumn{{{num_metrics + 1}}}{{l}}{{{title}}}"]))
        for heading, rows in block.groups:
            if heading:
                text = f"\\textbf{{{escape(heading)}}}"
                lines.append(_line([f"\\multicolumn{{{num_metrics + 1}}}{{l}}{{{text}}}"]))
            lines += [_line([_row_name(row), *map(_value, row.cells)]) for row in rows]
            lines += [
                _line([f"\\emph{{{escape(row.gain_name)}}}", *map(_gain, row.cells)])
                for row in rows
                if row.gain_name
            ]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _caption(table: BoardTable) -> str:
    num_seeds = max((cell.expected_seeds for _, row in table.rows for cell in row.cells), default=1)
    parts = [
        f"{table.title.rstrip('.')}.",
        table.scope,
        f"Means over {num_seeds} seeds." if num_seeds > 1 else "A single seed.",
        "Best in bold, second underlined; †: "
        f"{w.describe_significance(table.reference)}; ≈: {TIED_WITH_BEST}.",
        table.equivalence,
        f"{w.STALE}: {w.STALE_LEGEND}." if table.any_stale else "",
        f"In parentheses: as published by {table.source.paper}." if table.source else "",
    ]
    return " ".join(escape(part) for part in parts if part)


def _heading(metric: str) -> str:
    side = "uparrow" if get_metric(metric).higher_is_better else "downarrow"
    return f"{escape(metric)} $\\{side}$"


def _row_name(row: Row) -> str:
    """Name a row, and say why where it has no value at all."""
    missing = w.missing_row(row)
    if missing is None:
        return escape(row.name)
    status, reason = missing
    return escape(row.name) + _small(f"({status}: {w.shorten_reason(reason, REASON_CHARS)})")


def _value(cell: Cell) -> str:
    """Write a value with its marks, deviation and published value."""
    published = _small(_published(cell))
    if cell.mean is None:
        return f"\\emph{{{cell.status}}}{published}"
    value = w.format_value(cell.mean).replace("−", "$-$")
    if cell.best:
        value = f"\\textbf{{{value}}}"
    elif cell.second:
        value = f"\\underline{{{value}}}"
    marks = w.mark_significance(cell.comparison).replace("†", r"\dagger").replace("−", "-")
    marks += r"\approx" if cell.tied else ""
    marks += r"\ddagger" if cell.stale else ""
    value += f"$^{{{marks}}}$" if marks else ""
    if cell.num_seeds != cell.expected_seeds:
        value += _small(f"{cell.num_seeds}/{cell.expected_seeds} seeds")
    sd = "" if cell.sd is None else f" {{\\scriptsize$\\pm${w.format_value(cell.sd)}}}"
    return value + sd + published


def _gain(cell: Cell) -> str:
    assert cell.gain is not None
    return _small(f"{w.format_gain(cell.gain)} {w.format_published_gain(cell.gain)}").strip()


def _published(cell: Cell) -> str:
    if cell.published is None:
        return ""
    difference = cell.difference_from_published
    value = w.format_value(cell.published.value)
    return f"({value})" if difference is None else f"({value}, {w.format_signed(difference)})"


def _small(text: str) -> str:
    return f" {{\\scriptsize {escape(text)}}}" if text else ""
