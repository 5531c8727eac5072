"""A board as a LaTeX table (booktabs): one part per data set, with its groups of rows."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Template
from markupsafe import Markup

from bench.report import format as w
from bench.report.render.html import page_environment
from bench.report.table import BoardTable
from bench.stats.descriptions import TIED_WITH_BEST

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


def escape(text: str) -> Markup:
    """Make a foreign text harmless in LaTeX; letters of other scripts stay as they are."""
    escaped = _PATTERN.sub(lambda match: _SPECIAL[match[0]], w.single_line(text))
    return Markup(escaped)  # noqa: S704  what HTML would escape is escaped for LaTeX


def render_latex(table: BoardTable) -> str:
    """Render a board as one table, with means, deviations and published values."""
    return _load_template().render(
        table=table,
        tex=escape,
        caption=_caption(table),
        label=re.sub("[^a-zA-Z0-9:-]", "-", table.name),
    )


@cache
def _load_template() -> Template:
    environment = page_environment().overlay(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        keep_trailing_newline=True,
    )
    return environment.get_template("table.tex.j2")


def _caption(table: BoardTable) -> Markup:
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
    return Markup(" ").join(escape(part) for part in parts if part)
