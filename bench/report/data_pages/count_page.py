"""A count board as Markdown and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from bench.report.data_pages.counts import CountCell, CountTable
from bench.report.format import NO_VALUE, format_count
from bench.report.published import Number
from bench.report.render.markdown import escape, markdown_table
from bench.report.render.pages import write_pages

LEGEND = (
    "Our count in bold, published number and verdict below it. The list of what each number "
    "counts explains “one less, as explained” and “differs: explained”."
)


def render_counts(table: CountTable, folder: Path) -> list[Path]:
    """Write a count board to `<folder>/<board>/README.md`; returns its path."""
    return write_pages({"README.md": counts_markdown(table).encode()}, folder / table.name)


def format_published_count(value: Number | None) -> str:
    """Write a published number with as many digits as the paper prints."""
    if value is None:
        return NO_VALUE
    digits = max(0, round(-math.log10(2 * value.half_unit)))
    return f"{value.value:,.{digits}f}"


def short_verdict(cell: CountCell) -> str:
    """Return a verdict for a cell; the reason for a missing count is said once, in a list."""
    return cell.verdict if cell.ours is not None else cell.verdict.partition(":")[0]


def summarize_verdicts(table: CountTable) -> str:
    """Count the verdicts: "12 published numbers: 2 × equal; 10 × not available."."""
    verdicts = [
        short_verdict(cell)
        for line in table.lines
        for cell in line.cells
        if cell.published is not None
    ]
    parts = [f"{verdicts.count(verdict)} × {verdict}" for verdict in dict.fromkeys(verdicts)]
    return f"{format_count(len(verdicts), 'published number')}: {'; '.join(parts)}."


def list_missing(table: CountTable) -> list[tuple[str, str]]:
    """List what we have not counted, and why: data sets first, then columns."""
    reasons = [(line.label, line.missing) for line in table.lines]
    not_run = {
        cell.column
        for line in table.lines
        for cell in line.cells
        if cell.verdict.startswith("not run")
    }
    reasons += [
        (column.title, column.not_run or column.needs)
        for name, column in table.card.columns.items()
        if name in not_run
    ]
    return [(what, f"not run: {why}.") for what, why in reasons if why]


def counts_markdown(table: CountTable) -> str:
    """Render the board; the table first, then what is missing and what the numbers count."""
    card = table.card
    parts = [
        f"# {escape(card.title)}",
        escape(card.description),
        f"**{summarize_verdicts(table)}**",
        markdown_table(
            ["data set", *(escape(column.title) for column in card.columns.values())],
            [
                [f"{escape(line.label)}<br><sub>`{line.dataset}`</sub>", *map(_cell, line.cells)]
                for line in table.lines
            ],
        ),
        f"<sub>{LEGEND}</sub>",
    ]
    if missing := list_missing(table):
        parts.append("**What is missing, and why**")
        parts.append("\n".join(f"- {escape(what)}: {escape(why)}" for what, why in missing))
    parts += ["## What each number counts", *_meanings(table)]
    parts.append(f"Published numbers: {escape(card.citation)}")
    return "\n\n".join(parts) + "\n"


def _meanings(table: CountTable) -> list[str]:
    """List what numbers count: what holds in all rows once, then each row's own."""
    columns = table.card.columns
    sections = [("All data sets", "", {name: column.meaning for name, column in columns.items()})]
    sections += [(row.label, row.scope, dict(row.cells)) for row in table.card.rows]
    parts = []
    for heading, scope, meanings in sections:
        entries = [
            f"- {escape(column.title)}, our count “{escape(meaning.count)}”: "
            f"{escape(meaning.explanation)}"
            for name, column in columns.items()
            if (meaning := meanings.get(name)) is not None
        ]
        if entries or scope:
            parts.append(f"**{escape(heading)}.** {escape(scope)}".rstrip())
            parts.append("\n".join(entries))
    return parts


def _ours(cell: CountCell, style: Callable[[str], str] = str) -> str:
    return NO_VALUE if cell.ours is None else style(f"{cell.ours:,}")


def _cell(cell: CountCell) -> str:
    ours = _ours(cell, lambda text: f"**{text}**")
    published = format_published_count(cell.published)
    return f"{ours}<br><sub>published {published}<br>{escape(short_verdict(cell))}</sub>"


def counts_text(table: CountTable) -> str:
    """Render the board for the terminal: one line per published number, then what is missing."""
    from tabulate import tabulate

    lines = [
        (
            line.label,
            table.card.columns[cell.column].title,
            format_published_count(cell.published),
            _ours(cell),
            short_verdict(cell),
        )
        for line in table.lines
        for cell in line.cells
    ]
    text = tabulate(
        lines,
        headers=["data set", "column", "published", "ours", "verdict"],
        disable_numparse=True,
        colalign=("left", "left", "right", "right"),
    )
    missing = [f"{what}: {why}" for what, why in list_missing(table)]
    return "\n".join([table.card.title, "", text, "", summarize_verdicts(table), *missing])
