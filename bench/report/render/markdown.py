"""A board as Markdown: the README that a repository's page shows."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.report.format import (
    NO_VALUE,
    STALE,
    STALE_LEGEND,
    cell_seeds,
    direction_arrow,
    format_catalog,
    format_completeness,
    format_gain,
    format_interval,
    format_p,
    format_percent,
    format_published,
    format_published_gain,
    format_signed,
    format_strata,
    format_value,
    list_problems,
    mark_symbols,
    row_notes,
    single_line,
)
from bench.report.table import Block, BoardTable, Cell, Row
from bench.stats.descriptions import SIGNIFICANT, TIED_WITH_BEST

if TYPE_CHECKING:
    from bench.stats.compare import Comparison

HOW_TO_READ = "how-to-read"
"""File of the page that explains boards, next to their folders."""
HEADS = ("metric", "row", "difference", "95 % interval", "relative", "d_z", "p", "p (Holm)")
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def render_markdown(table: BoardTable) -> str:
    """Render a board: values first, then tests, then reasons for missing values."""
    parts = [f"# {escape(table.title)}"]
    if table.scope:
        parts.append(f"> **{escape(table.scope)}**")
    parts.append(escape(table.description))
    parts.append(
        f"**{format_completeness(table.completeness)}.** {escape(table.protocol)} "
        "The same page with figures and per-seed values: [index.html](index.html); "
        "all numbers: [table.csv](table.csv); for a paper: [table.tex](table.tex). "
        f"[How to read a board](../{HOW_TO_READ}.md)."
    )
    for block in table.datasets:
        parts += _render_block(table, block)
    if table.mean_ranks:
        parts.append("## Across data sets")
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in table.mean_ranks))
    parts += ["## Statistics", escape(table.statistics)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Make a foreign text harmless in Markdown and in the HTML that Markdown lets through."""
    return _SPECIAL.sub(r"\\\1", html.escape(single_line(text), quote=False))


def _render_block(table: BoardTable, block: Block) -> list[str]:
    heads = [f"{escape(metric)}&nbsp;{direction_arrow(metric)}" for metric in table.metrics]
    rows = [line for heading, group in block.groups for line in _group_lines(heading, group)]
    parts = [
        f"## {escape(block.title)}",
        _data_facts(block),
        escape(block.lead.floor_text if block.lead else ""),
        markdown_table(["", *heads], rows),
        _legend(table),
    ]
    problems = list_problems(block)
    if problems:
        parts.append("**What is missing, and why**")
        parts.append(
            "\n".join(
                f"- {escape(name)} ({escape(what)}): {escape(why)}" for name, what, why in problems
            )
        )
    robustness = block.lead.robustness if block.lead else ""
    parts += map(escape, filter(None, (robustness, block.external)))
    return parts + _comparisons(block, table.metrics) + _strata(block)


def _strata(block: Block) -> list[str]:
    parts = []
    for strata in block.strata:
        heads, *lines = ([escape(text) for text in line] for line in format_strata(strata))
        parts += [
            f"**By {strata.kind}**: {escape(strata.definition)}.",
            markdown_table(heads, lines),
            "\n".join(f"- {escape(sentence)}" for sentence in strata.reversals),
        ]
    if not parts:
        return []
    summary = f"<details><summary>Strata of the test cases on {escape(block.title)}</summary>"
    return [summary, *parts, "</details>"]


def _group_lines(heading: str, rows: Sequence[Row]) -> list[list[str]]:
    """Write a group's heading, its rows, and the relative changes that it shows."""
    lines = [[f"**{escape(heading)}**", *([""] * len(rows[0].cells))]] if heading else []
    lines += [[_row_name(row), *(_value(row, cell) for cell in row.cells)] for row in rows]
    return lines + [
        [
            f"*{escape(row.gain_name)}*",
            *(
                format_gain(cell.gain) + _small(format_published_gain(cell.gain))
                for cell in row.cells
                if cell.gain
            ),
        ]
        for row in rows
        if row.gain_name
    ]


def _data_facts(block: Block) -> str:
    parts = []
    if block.num_cases is not None and block.num_items is not None:
        size = format_catalog(block.num_items, block.num_ids)
        parts += [f"{block.num_cases:,} test cases", size]
    if block.fingerprint:
        parts.append(f"data fingerprint `{block.fingerprint[:12]}`")
    if block.license:
        parts.append(f"license: {escape(block.license)}")
    line = " · ".join(parts) + (f"\n\n{escape(block.note)}" if block.note else "")
    return f"{line}\n\nSource: {escape(block.citation)}" if block.citation else line


def _row_name(row: Row) -> str:
    return escape(row.name) + _small(", ".join(row_notes(row)))


def _value(row: Row, cell: Cell) -> str:
    """Write a value with its marks, deviation and published value."""
    published = _small(format_published(cell))
    if cell.mean is None:
        return f"*{cell.status}*{published}"
    value = format_value(cell.mean)
    if cell.best:
        value = f"**{value}**"
    elif cell.second:
        value = f"<u>{value}</u>"
    sd = "" if cell.sd is None else _small(f"±{format_value(cell.sd)}")
    return f"{value}{mark_symbols(cell)}{_small(cell_seeds(row, cell))}{sd}{published}"


def _small(text: str) -> str:
    return f" <sub>{escape(text)}</sub>" if text else ""


def _legend(table: BoardTable) -> str:
    return (
        "<sub>Mean over seeds ± standard deviation. **Bold**: best; <u>underlined</u>: second; "
        f"†: differs from {escape(table.reference)} ({SIGNIFICANT}); ≈: {TIED_WITH_BEST}"
        + (f"; {STALE}: {STALE_LEGEND}" if table.any_stale else "")
        + ("." if not table.equivalence else f". {escape(table.equivalence)}")
        + "</sub>"
    )


def _comparisons(block: Block, metrics: Sequence[str]) -> list[str]:
    parts = []
    for reference, rows in block.families:
        lines = [
            _comparison_line(test)
            for column in range(len(metrics))
            for row in rows
            if (test := row.cells[column].comparison) is not None
        ]
        if lines:
            parts += [
                f"<details><summary>Differences from {escape(reference)} on "
                f"{escape(block.title)}</summary>",
                markdown_table([escape(head) for head in HEADS], lines),
                "</details>",
            ]
    return parts


def _comparison_line(test: Comparison) -> list[str]:
    adjusted = escape(format_p(test.p_adjusted))
    return [
        escape(test.metric),
        escape(test.other),
        format_signed(test.difference),
        format_interval(test.low, test.high),
        format_percent(test.relative),
        NO_VALUE if test.d_z is None else f"{test.d_z:.2f}",
        escape(format_p(test.p)),
        f"**{adjusted}**" if test.significant else adjusted,
    ]


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right-aligned."""
    rule = [":--"] + ["--:"] * (len(heads) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))
