"""The data table of a paper as pages and for the terminal, from data alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.request import DataOptions, RunRequest
from bench.report.data_pages.counts import CountCell, CountTable, compare, load, paths
from bench.report.format import NO_VALUE, format_count
from bench.report.paper import find_source
from bench.report.published import Number, load_published
from bench.report.render.html import fill_template
from bench.report.render.index import IndexEntry
from bench.report.render.markdown import escape, fill_markdown
from bench.report.render.pages import TABLE, write_pages
from bench.report.render.terminal import fit_table
from bench.runner.prepared_data import count_dataset

LEGEND = (
    "Our count in bold, published number and verdict below it. The list of what each number "
    "counts explains “one less, as explained” and “differs: explained”."
)


def requested_tables(request: RunRequest) -> Sequence[str]:
    """Name the data tables of a request: those of its suite, or the one it calls a board."""
    if request.suite is not None:
        return plugins.suite_card(request.suite).data_tables
    return [request.board] if request.board in paths() else []


def render_tables(
    names: Sequence[str], options: DataOptions, out: Path, model: str | None = None
) -> tuple[list[CountTable], list[Path]]:
    """Count the data sets of data tables, and write their pages.

    Data sets whose raw files are missing show the published numbers and say why. With the card of a
    backbone, `model`, its tokens are counted, too.

    Returns:
        Tables, and paths of the pages.
    """
    cards = {name: load(name) for name in names}
    datasets = dict.fromkeys(row.dataset for card in cards.values() for row in card.rows)
    counted = {dataset: count_dataset(dataset, options, model) for dataset in datasets}
    tables = [compare(name, card, load_published(), counted) for name, card in cards.items()]
    return tables, [path for table in tables for path in render_counts(table, out)]


def render_counts(table: CountTable, folder: Path) -> list[Path]:
    """Write README.md, index.html and table.json of a data table to `<folder>/<table>/`."""
    num_ours = sum(cell.ours is not None for line in table.lines for cell in line.cells)
    num_cells = sum(len(line.cells) for line in table.lines)
    source = find_source(table.card.paper)
    entry = IndexEntry(
        name=table.name,
        board=table.name,
        title=table.card.title,
        datasets=tuple(line.label for line in table.lines),
        note=summarize_verdicts(table),
        paper=source.title if source else "",
        url=source.url if source else "",
        num_rows=len(table.lines),
        status=f"{num_ours} of {num_cells} counts",
    )
    content = {"page": entry.model_dump(), **table.to_json()}
    pages = {
        "README.md": counts_markdown(table),
        "index.html": counts_html(table),
        TABLE: json.dumps(content, indent=2) + "\n",
    }
    return write_pages({name: text.encode() for name, text in pages.items()}, folder / table.name)


def counts_html(table: CountTable) -> str:
    """Render the table as one self-contained page."""
    return fill_template("counts.html.j2", **_page_values(table), verdict=short_verdict)


def counts_markdown(table: CountTable) -> str:
    """Render the table first, then what is missing and what the numbers count."""

    def verdict(cell: CountCell) -> str:
        return escape(short_verdict(cell))

    return fill_markdown("counts.md.j2", **_page_values(table), verdict=verdict)


def _page_values(table: CountTable) -> dict[str, Any]:
    return {
        "table": table,
        "card": table.card,
        "summary": summarize_verdicts(table),
        "legend": LEGEND,
        "missing": list_missing(table),
        "meanings": list_meanings(table),
        "ours": _ours,
        "published": format_published_count,
    }


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
    printed = (cell for line in table.lines for cell in line.cells if cell.published is not None)
    verdicts = list(map(short_verdict, printed))
    parts = [f"{verdicts.count(verdict)} × {verdict}" for verdict in dict.fromkeys(verdicts)]
    return f"{format_count(len(verdicts), 'published number')}: {'; '.join(parts)}."


def list_missing(table: CountTable) -> list[tuple[str, str]]:
    """List what we have not counted, and why: data sets first, then columns."""
    reasons = [(line.label, line.missing) for line in table.lines]
    cells = [cell for line in table.lines for cell in line.cells]
    not_run = {cell.column for cell in cells if cell.verdict.startswith("not run")}
    reasons += [
        (column.title, column.not_run or column.needs)
        for name, column in table.card.columns.items()
        if name in not_run
    ]
    return [(what, f"not run: {why}.") for what, why in reasons if why]


def list_meanings(table: CountTable) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """List what numbers count: what holds in all rows once, then each row's own.

    Returns:
        Heading, scope, and column, name of our count and explanation of each number.
    """
    columns = table.card.columns
    sections = [("All data sets", "", {name: column.meaning for name, column in columns.items()})]
    sections += [(row.label, row.scope, dict(row.cells)) for row in table.card.rows]
    entries_of_rows = []
    for heading, scope, meanings in sections:
        entries = [
            (column.title, meaning.count, meaning.explanation)
            for name, column in columns.items()
            if (meaning := meanings.get(name)) is not None
        ]
        if entries or scope:
            entries_of_rows.append((heading, scope, entries))
    return entries_of_rows


def _ours(cell: CountCell) -> str:
    return NO_VALUE if cell.ours is None else f"{cell.ours:,}"


def counts_text(table: CountTable) -> str:
    """Render the board for the terminal: one line per published number, then what is missing."""
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
    text = fit_table(lines, ["data set", "column", "published", "ours", "verdict"])
    missing = [f"{what}: {why}" for what, why in list_missing(table)]
    return "\n".join([table.card.title, "", text, "", summarize_verdicts(table), *missing])
