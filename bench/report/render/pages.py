"""Writes pages: all files of a board, and the index of all boards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bench.files import write_atomic
from bench.report.assemble import values_json
from bench.report.costs import row_costs
from bench.report.format import format_completeness, single_line
from bench.report.render.cell_details import Examples
from bench.report.render.csv import render_costs_csv, render_csv
from bench.report.render.html import fill_template, render_html
from bench.report.render.latex import render_latex
from bench.report.render.markdown import escape, markdown_table, render_markdown
from bench.report.table import BoardTable
from bench.results.load import ResultSet
from bench.stats.descriptions import join_words

INDEX = "index.json"


class IndexEntry(BaseModel):
    """A board in the index of boards, as it was when it was last rendered.

    Attributes:
        name: Of the board, also its folder; title: as on its page.
        scope: "Small budget …", or empty.
        datasets: Titles of its data sets; num_rows: of its table; status: completeness in words.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    scope: str
    datasets: str
    num_rows: int
    status: str

    @classmethod
    def of_table(cls, table: BoardTable) -> IndexEntry:
        """Summarize a board."""
        return cls(
            name=table.name,
            title=table.title,
            scope=table.scope.partition(":")[0],
            datasets=join_words([single_line(block.title) for block in table.datasets]),
            num_rows=len({row.name for _, row in table.rows}),
            status=format_completeness(table.completeness),
        )


def render(
    table: BoardTable,
    folder: Path,
    results: ResultSet | None = None,
    examples: Examples | None = None,
) -> list[Path]:
    """Write a board's pages to `<folder>/<board>/`; see `board_pages`.

    Returns:
        The paths of README.md, index.html, table.csv, .tex, .json and, with costs, costs.csv.
    """
    return write_pages(board_pages(table, results, examples), folder / table.name)


def board_pages(
    table: BoardTable, results: ResultSet | None = None, examples: Examples | None = None
) -> dict[str, bytes]:
    """Render a board's pages by file name.

    Args:
        table: The board.
        results: The results behind its values; only index.html and costs.csv show them, so that
            all other files are equal where metrics are.
        examples: Test cases in titles, by trial, for index.html.
    """
    values = {"boards": [values_json(table.name, table.datasets)]}
    pages = {
        "README.md": render_markdown(table),
        "index.html": render_html(table, results, examples),
        "table.csv": render_csv(table),
        "table.tex": render_latex(table),
        "table.json": json.dumps(values, indent=2) + "\n",
    }
    if results is not None and (costs := row_costs(table, results)):
        pages["costs.csv"] = render_costs_csv(table, costs)
    return {name: text.encode() for name, text in pages.items()}


def render_index(tables: Iterable[BoardTable], folder: Path) -> list[Path]:
    """Write the index of boards: these, and those that were rendered to the folder before.

    Returns:
        The paths of README.md, index.html and index.json.
    """
    path = folder / INDEX
    entries = {entry.name: entry for entry in _read_index(path)}
    entries = {
        name: entry for name, entry in entries.items() if (folder / name / "index.html").is_file()
    } | {table.name: IndexEntry.of_table(table) for table in tables}
    ordered = [entries[name] for name in sorted(entries)]
    content = json.dumps([entry.model_dump() for entry in ordered], indent=1) + "\n"
    pages = {
        "README.md": index_markdown(ordered).encode(),
        "index.html": index_html(ordered).encode(),
        INDEX: content.encode(),
    }
    return write_pages(pages, folder)


def _read_index(path: Path) -> list[IndexEntry]:
    try:
        return TypeAdapter(list[IndexEntry]).validate_json(path.read_bytes())
    except (OSError, ValidationError):  # it only lists what is rendered again anyway
        return []


def index_html(entries: Sequence[IndexEntry]) -> str:
    """Render the index of boards as a page."""
    return fill_template("index.html.j2", entries=entries)


def index_markdown(entries: Sequence[IndexEntry]) -> str:
    """Render the index of boards as Markdown."""
    lines = [
        [
            f"[{escape(entry.title)}]({entry.name}/README.md)",
            escape(entry.datasets),
            str(entry.num_rows),
            escape(entry.status),
        ]
        for entry in entries
    ]
    table = markdown_table(["board", "data sets", "rows", "status"], lines)
    return f"# Leaderboards\n\n{table}\n"


def write_pages(pages: dict[str, bytes], folder: Path) -> list[Path]:
    """Write pages by file name, each atomically."""
    # All pages are rendered before the first is written, so an error leaves the old ones alone.
    for name, content in pages.items():
        write_atomic(folder / name, content)
    return [folder / name for name in pages]
