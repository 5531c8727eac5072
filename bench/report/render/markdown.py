"""A board as Markdown: the README that a repository's page shows."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from bench.report.format import (
    STALE,
    STALE_LEGEND,
    any_stale,
    arrow,
    cell_seeds,
    completeness,
    interval,
    number,
    one_line,
    p_value,
    percent,
    problems,
    published,
    seeds_word,
    signed,
    state,
)
from bench.report.table import Block, BoardTable, Cell, Row

_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def render_markdown(table: BoardTable) -> str:
    """Render a board; the values come first, the tests behind them after, the reasons last."""
    parts = [f"# {escape(table.title)}", escape(table.description)]
    if table.scope:
        parts.append(f"> **{escape(table.scope)}**")
    parts.append(
        f"**{completeness(table.completeness)}.** {escape(table.protocol)} "
        "The same page with figures and per-seed values: [index.html](index.html); "
        "all numbers: [table.csv](table.csv); for a paper: [table.tex](table.tex)."
    )
    for block in table.datasets:
        parts += _block(table, block)
    if table.across:
        parts.append("## Across data sets")
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in table.across))
    parts += ["## How it was tested", escape(table.statistics)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Make a foreign text harmless in Markdown and in the HTML that Markdown lets through."""
    return _SPECIAL.sub(r"\\\1", html.escape(one_line(text), quote=False))


def _block(table: BoardTable, block: Block) -> list[str]:
    parts = [f"## {escape(block.title)}", _facts(block)]
    parts.append(
        grid(
            ["", *(f"{escape(metric)}&nbsp;{arrow(metric)}" for metric in table.metrics)],
            [[row_name(row), *(_value(row, cell) for cell in row.cells)] for row in block.rows],
        )
    )
    parts.append(_legend(table))
    lacking = problems(block)
    if lacking:
        parts.append("**What is missing, and why**")
        parts.append(
            "\n".join(
                f"- {escape(name)} ({escape(what)}): {escape(why)}" for name, what, why in lacking
            )
        )
    parts += _comparisons(block, table.metrics)
    return parts


def _facts(block: Block) -> str:
    facts = []
    if block.num_cases is not None and block.num_items is not None:
        facts += [f"{block.num_cases:,} test cases", f"{block.num_items:,} items"]
    if block.fingerprint:
        facts.append(f"data fingerprint `{block.fingerprint[:12]}`")
    if block.license:
        facts.append(f"license: {escape(block.license)}")
    line = " · ".join(facts)
    return f"{line}\n\nSource: {escape(block.citation)}" if block.citation else line


def row_name(row: Row) -> str:
    """Name a row with what a reader must know of it."""
    notes = [
        "reference" if row.reference else "",
        "" if row.ranked else "not ranked",
        seeds_word(row),
    ]
    kept = ", ".join(note for note in notes if note)
    return f"{escape(row.name)} <sub>{kept}</sub>" if kept else escape(row.name)


def _value(row: Row, cell: Cell) -> str:
    value, sd, printed, *_ = pieces(row, cell)
    return value + sd + printed


def pieces(row: Row, cell: Cell) -> tuple[str, ...]:
    """Write a value with its marks, then deviation, published value, interval and p apart."""
    printed = _small(published(cell))
    if cell.mean is None:
        return f"*{cell.status}*", "", printed, "", ""
    value = number(cell.mean)
    if cell.best:
        value = f"**{value}**"
    elif cell.second:
        value = f"<u>{value}</u>"
    marks = ("†" if cell.significant else "") + ("≈" if cell.tied else "")
    marks += STALE if cell.stale else ""
    test = cell.comparison
    return (
        value + marks + _small(cell_seeds(row, cell)),
        _small(f"±{number(cell.sd)}") if cell.sd is not None else "",
        printed,
        _small(f"Δ {signed(test.difference)} {interval(test.low, test.high)}") if test else "",
        _small(f"p {p_value(test.p_adjusted)}") if test else "",
    )


def _small(text: str) -> str:
    return f" <sub>{escape(text)}</sub>" if text else ""


def _legend(table: BoardTable) -> str:
    return (
        "<sub>Mean over seeds ± standard deviation. **Bold**: best; <u>underlined</u>: second; "
        f"†: differs from {escape(table.reference)} (p ≤ .05 after Holm); ≈: not told apart from "
        "the best, which is no proof of equality"
        + (f"; {STALE}: {STALE_LEGEND}" if any_stale(table) else "")
        + ".</sub>"
    )


def _comparisons(block: Block, metrics: Sequence[str]) -> list[str]:
    lines = []
    for column, metric in enumerate(metrics):
        for row in block.rows:
            test = row.cells[column].comparison
            if test is None:
                continue
            verdict = f"**{escape(p_value(test.p_adjusted))}**" if test.significant else None
            lines.append(
                [
                    escape(metric),
                    escape(row.name),
                    signed(test.difference),
                    interval(test.low, test.high),
                    percent(test.relative),
                    "–" if test.d_z is None else f"{test.d_z:.2f}",
                    escape(p_value(test.p)),
                    verdict or escape(p_value(test.p_adjusted)),
                ]
            )
    if not lines or block.reference is None:
        return []
    heads = ["metric", "row", "difference", "95 % interval", "relative", "d_z", "p", "p (Holm)"]
    return [
        f"<details><summary>Differences from {escape(block.reference.name)} on "
        f"{escape(block.title)}</summary>",
        grid([escape(head) for head in heads], lines),
        "</details>",
    ]


def grid(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; the first column to the left, the others to the right."""
    rule = [":--"] + ["--:"] * (len(heads) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def index_markdown(tables: Sequence[BoardTable]) -> str:
    """List boards with their state."""
    lines = [
        [f"[{escape(table.title)}]({table.name}/README.md)", *map(escape, state(table))]
        for table in tables
    ]
    table = grid(["board", "data sets", "rows", "state"], lines)
    return f"# Leaderboards\n\n{table}\n"
