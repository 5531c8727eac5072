"""A count board as one self-contained page and as Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bench.report.data_pages.counts import UNEXPLAINED, CountCell, CountTable
from bench.report.format import NO_VALUE, count
from bench.report.published import Number
from bench.report.render.html import fill_template
from bench.report.render.markdown import escape, grid
from bench.report.render.pages import write_pages

LEGEND = (
    "Ours in bold, the published number and the verdict below it. “One less, as explained” and "
    "“differs: explained” have their reasons in the list of what each number counts."
)


@dataclass(frozen=True, kw_only=True)
class Meanings:
    """What numbers count, under one heading: column, name of our count, explanation."""

    heading: str
    scope: str = ""
    lines: tuple[tuple[str, str, str], ...]


def render_counts(table: CountTable, folder: Path) -> list[Path]:
    """Write a count board to `<folder>/<board>/`.

    Returns:
        The paths of README.md and index.html.
    """
    pages = {
        "README.md": counts_markdown(table).encode(),
        "index.html": counts_html(table).encode(),
    }
    return write_pages(pages, folder / table.name)


def printed(value: Number | None) -> str:
    """Write a published number with as many digits as the paper prints."""
    if value is None:
        return NO_VALUE
    digits = max(0, round(-math.log10(2 * value.half_unit)))
    return f"{value.value:,.{digits}f}"


def ours(cell: CountCell) -> str:
    """Write our count."""
    return NO_VALUE if cell.ours is None else f"{cell.ours:,}"


def brief(cell: CountCell) -> str:
    """Write a verdict for a cell; why a data set or a column is missing stands once, in a list."""
    return cell.verdict if cell.ours is not None else cell.verdict.partition(":")[0]


def summary(table: CountTable) -> str:
    """Count the verdicts: "12 published numbers: 2 × equal; 10 × not at hand."."""
    cells = [cell for line in table.lines for cell in line.cells if cell.published is not None]
    verdicts = [brief(cell) for cell in cells]
    parts = [f"{verdicts.count(verdict)} × {verdict}" for verdict in dict.fromkeys(verdicts)]
    return f"{count(len(verdicts), 'published number')}: {'; '.join(parts)}."


def missing(table: CountTable) -> list[tuple[str, str]]:
    """List what has no count of ours, and why: data sets first, then columns."""
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


def meanings(table: CountTable) -> list[Meanings]:
    """List what each number counts: what holds in all rows once, then each row's own."""
    columns = table.card.columns
    common = [
        (one.title, one.meaning.count, one.meaning.explanation)
        for one in columns.values()
        if one.meaning
    ]
    found = [Meanings(heading="All data sets", lines=tuple(common))] if common else []
    for row in table.card.rows:
        own = [
            (columns[name].title, row.cells[name].count, row.cells[name].explanation)
            for name in columns
            if name in row.cells
        ]
        if own or row.scope:
            found.append(Meanings(heading=row.label, scope=row.scope, lines=tuple(own)))
    return found


def counts_html(table: CountTable) -> str:
    """Render the page."""
    return fill_template(
        "counts.html.j2",
        table=table,
        legend=LEGEND,
        summary=summary(table),
        missing=missing(table),
        meanings=meanings(table),
        unexplained=UNEXPLAINED,
        printed=printed,
        ours=ours,
        brief=brief,
    )


def counts_markdown(table: CountTable) -> str:
    """Render the board; the table first, what the numbers count and what is missing after it."""
    card = table.card
    heads = ["data set", *(escape(column.title) for column in card.columns.values())]
    rows = [
        [f"{escape(line.label)}<br><sub>`{line.dataset}`</sub>", *map(_cell, line.cells)]
        for line in table.lines
    ]
    parts = [
        f"# {escape(card.title)}",
        escape(card.description),
        f"**{summary(table)}** The same page: [index.html](index.html).",
        grid(heads, rows),
        f"<sub>{LEGEND}</sub>",
    ]
    lacking = missing(table)
    if lacking:
        parts.append("**What is missing, and why**")
        parts.append("\n".join(f"- {escape(what)}: {escape(why)}" for what, why in lacking))
    parts.append("## What each number counts")
    for one in meanings(table):
        parts.append(f"**{escape(one.heading)}.** {escape(one.scope)}".rstrip())
        parts.append(
            "\n".join(
                f"- {escape(column)}, our count “{escape(counted)}”: {escape(explanation)}"
                for column, counted, explanation in one.lines
            )
        )
    parts.append(f"Published numbers: {escape(card.citation)}")
    return "\n\n".join(parts) + "\n"


def _cell(cell: CountCell) -> str:
    value = f"**{ours(cell)}**" if cell.ours is not None else NO_VALUE
    return f"{value}<br><sub>published {printed(cell.published)}<br>{escape(brief(cell))}</sub>"


def counts_text(table: CountTable) -> str:
    """Render the board for the terminal: a line a published number, then what is missing."""
    from tabulate import tabulate

    lines = [
        [line.label, table.card.columns[cell.column].title, printed(cell.published), ours(cell),
         brief(cell)]
        for line in table.lines
        for cell in line.cells
    ]  # fmt: skip
    heads = ["data set", "column", "published", "ours", "verdict"]
    grid = tabulate(
        lines, headers=heads, disable_numparse=True, colalign=("left", "left", "right", "right")
    )
    lacking = [f"{what}: {why}" for what, why in missing(table)]
    return "\n".join([table.card.title, "", grid, "", summary(table), *lacking])
