"""A board as Markdown: the README that a repository's page shows."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bench.report import format as w
from bench.report.render.html import page_environment
from bench.report.table import Block, BoardTable, Cell, Row, Stratification

if TYPE_CHECKING:
    from bench.stats.compare import Comparison

HOW_TO_READ = "how-to-read"
"""File of the page that explains boards, next to their folders."""
HEADS = ("metric", "row", "difference", "95 % interval", "relative", "d_z", "p", "p (Holm)")
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def render_markdown(table: BoardTable) -> str:
    """Render a board: values first, then tests, then reasons for missing values."""
    return fill_markdown(
        "board.md.j2",
        table=table,
        how_to_read=HOW_TO_READ,
        data_facts=_data_facts,
        values_table=_values_table,
        comparisons_table=_comparisons_table,
        strata_table=_strata_table,
    )


def fill_markdown(template: str, **values: Any) -> str:
    """Render a template; parts are one blank line apart.

    `md` escapes a text of an object. Strings, and what functions return, are Markdown already.
    """
    values = {name: _mark(value) for name, value in {"md": escape, **values}.items()}
    text = page_environment().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _mark(value: Any) -> Any:
    """Mark a text, or what a function returns, as escaped already; leave objects as they are."""
    if callable(value):
        return lambda *arguments: _mark(value(*arguments))
    return Markup(value) if isinstance(value, str) else value  # noqa: S704


def escape(text: str) -> str:
    """Make a foreign text harmless in Markdown and in the HTML that Markdown lets through."""
    return _SPECIAL.sub(r"\\\1", html.escape(w.single_line(text), quote=False))


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right-aligned."""
    rule = [":--"] + ["--:"] * (len(heads) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _data_facts(block: Block) -> str:
    parts = []
    if block.num_cases is not None and block.num_items is not None:
        size = w.format_catalog(block.num_items, block.num_ids)
        parts += [f"{block.num_cases:,} test cases", size]
    if block.fingerprint:
        parts.append(f"data fingerprint `{block.fingerprint[:12]}`")
    if block.license:
        parts.append(f"license: {escape(block.license)}")
    return " · ".join(parts)


def _values_table(block: Block, metrics: Sequence[str]) -> str:
    heads = [f"{escape(metric)}&nbsp;{w.direction_arrow(metric)}" for metric in metrics]
    rows = [line for heading, group in block.groups for line in _group_lines(heading, group)]
    return markdown_table(["", *heads], rows)


def _group_lines(heading: str, rows: Sequence[Row]) -> list[list[str]]:
    """Write a group's heading, its rows, and the relative changes that it shows."""
    lines = [[f"**{escape(heading)}**", *([""] * len(rows[0].cells))]] if heading else []
    lines += [[_row_name(row), *(_value(row, cell) for cell in row.cells)] for row in rows]
    return lines + [
        [
            f"*{escape(row.gain_name)}*",
            *(
                w.format_gain(cell.gain) + _small(w.format_published_gain(cell.gain))
                for cell in row.cells
                if cell.gain
            ),
        ]
        for row in rows
        if row.gain_name
    ]


def _row_name(row: Row) -> str:
    return escape(row.name) + _small(", ".join(w.row_notes(row)))


def _value(row: Row, cell: Cell) -> str:
    """Write a value with its marks, deviation and published value."""
    published = _small(w.format_published(cell))
    if cell.mean is None:
        return f"*{cell.status}*{published}"
    value = w.format_value(cell.mean)
    if cell.best:
        value = f"**{value}**"
    elif cell.second:
        value = f"<u>{value}</u>"
    sd = "" if cell.sd is None else _small(f"±{w.format_value(cell.sd)}")
    return f"{value}{w.mark_symbols(cell)}{_small(w.cell_seeds(row, cell))}{sd}{published}"


def _small(text: str) -> str:
    return f" <sub>{escape(text)}</sub>" if text else ""


def _comparisons_table(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """Write the comparisons of a family, "" without any."""
    lines = [
        _comparison_line(test)
        for column in range(len(metrics))
        for row in rows
        if (test := row.cells[column].comparison) is not None
    ]
    return markdown_table([escape(head) for head in HEADS], lines) if lines else ""


def _comparison_line(test: Comparison) -> list[str]:
    adjusted = escape(w.format_p(test.p_adjusted))
    return [
        escape(test.metric),
        escape(test.other),
        w.format_signed(test.difference),
        w.format_interval(test.low, test.high),
        w.format_percent(test.relative),
        w.NO_VALUE if test.d_z is None else f"{test.d_z:.2f}",
        escape(w.format_p(test.p)),
        f"**{adjusted}**" if test.significant else adjusted,
    ]


def _strata_table(strata: Stratification) -> str:
    heads, *lines = ([escape(text) for text in line] for line in w.format_strata(strata))
    return markdown_table(heads, lines)
