"""Writes pages: all files of a board, and the index of all boards."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.config import plugins, search_path
from bench.files import write_atomic
from bench.report.assemble import values_json
from bench.report.costs import row_costs
from bench.report.format import format_completeness, format_value, single_line
from bench.report.render.cell_details import Examples
from bench.report.render.csv import render_costs_csv, render_csv
from bench.report.render.html import describe_run, fill_template, read_source, render_html
from bench.report.render.latex import render_latex
from bench.report.render.markdown import HOW_TO_READ, escape, markdown_table, render_markdown
from bench.report.table import BoardTable
from bench.results.load import ResultSet
from bench.stats.descriptions import join_words

TABLE = "table.json"
ACCURACY = ("NDCG", "HR", "MAP")


class IndexEntry(BaseModel):
    """A board in the index of boards, as its table.json tells it.

    Attributes:
        name: Of its folder; title: as on its page.
        scope: "Small budget …", or empty.
        datasets: Titles of its data sets; num_rows: of its table; status: completeness in words.
        paper: Title of the paper whose table it mirrors; empty for a board of our own.
        url: Where the paper can be read.
        headline: Its best row by the last metric of accuracy, in words; empty without values.
        ran: Backbone, date, commit and hardware of its results; empty without any.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    scope: str
    datasets: str
    num_rows: int
    status: str
    paper: str = ""
    url: str = ""
    headline: str = ""
    ran: str = ""

    @classmethod
    def of_table(cls, table: BoardTable, results: ResultSet | None = None) -> IndexEntry:
        """Summarize a board."""
        return cls(
            name=table.page,
            title=table.title,
            scope=table.scope.partition(":")[0],
            datasets=join_words([single_line(block.title) for block in table.datasets]),
            num_rows=len({row.name for _, row in table.rows}),
            status=format_completeness(table.completeness),
            paper=table.source.title if table.source else "",
            url=table.source.url if table.source else "",
            headline=_write_headline(table),
            ran=describe_run(table, results),
        )


def _write_headline(table: BoardTable) -> str:
    """Name the best row on the first data set by the last accuracy metric of the board."""
    accuracy = [name for name in table.metrics if name.startswith(ACCURACY)]
    for block, row in table.rows if accuracy else ():
        cell = row.cell(accuracy[-1])
        if cell.best and cell.mean is not None:
            value = f"{accuracy[-1]} {format_value(cell.mean)}"
            return f"{single_line(row.name)} is best on {single_line(block.title)}: {value}"
    return ""


def render(
    table: BoardTable,
    folder: Path,
    results: ResultSet | None = None,
    examples: Examples | None = None,
) -> list[Path]:
    """Write a board's pages to `<folder>/<page>/`; see `board_pages`.

    Returns:
        The paths of README.md, index.html, table.csv, .tex, .json and, with costs, costs.csv.
    """
    return write_pages(board_pages(table, results, examples), folder / table.page)


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
    values = {
        "page": IndexEntry.of_table(table, results).model_dump(),
        "boards": [values_json(table.name, table.datasets)],
    }
    pages = {
        "README.md": render_markdown(table),
        "index.html": render_html(table, results, examples),
        "table.csv": render_csv(table),
        "table.tex": render_latex(table),
        TABLE: json.dumps(values, indent=2) + "\n",
    }
    if results is not None and (costs := row_costs(table, results)):
        pages["costs.csv"] = render_costs_csv(table, costs)
    return {name: text.encode() for name, text in pages.items()}


def render_index(folder: Path) -> list[Path]:
    """Write the index of the boards that are rendered in a folder.

    Returns:
        The paths of README.md, index.html and the page that explains boards.
    """
    entries = list(_read_entries(folder))
    pages = {
        "README.md": index_markdown(entries).encode(),
        "index.html": index_html(entries, _find_links(folder)).encode(),
        **reading_pages(),
    }
    return write_pages(pages, folder)


def _find_links(folder: Path) -> dict[str, str]:
    """Return what the index links to beside its boards: pages next to it, files of the checkout."""
    links = {"Methods": "methods.html", "How to read a board": f"{HOW_TO_READ}.html"}
    if (folder / "datasets" / "index.html").is_file():
        links["Data sets"] = "datasets/index.html"
    root, absolute = search_path.PACKAGE.parent, folder.resolve()
    if (root / "docs" / "index.md").is_file() and root in absolute.parents:
        up = "../" * len(absolute.relative_to(root).parts)
        links |= {"Documentation": f"{up}docs/index.md", "Code": f"{up}README.md"}
    return links


def _read_entries(folder: Path) -> Iterator[IndexEntry]:
    suites = [plugins.suite_card(name) for name in plugins.card_paths("suites")]
    names = dict.fromkeys(name for suite in suites for name in (*suite.boards, *suite.data_tables))
    order = {name: rank for rank, name in enumerate(names)}  # a suite has the order of its paper
    paths = folder.glob(f"*/{TABLE}")
    for path in sorted(paths, key=lambda path: (order.get(path.parent.name, len(order)), path)):
        try:
            yield IndexEntry.model_validate(json.loads(path.read_bytes())["page"])
        except (OSError, ValueError, KeyError, TypeError):
            print(f"Not in the index: {path} is not a table of a board.", file=sys.stderr)


def reading_pages() -> dict[str, bytes]:
    """Return the pages that explain boards and methods, by file name."""
    reading = text_pages(HOW_TO_READ, read_source(f"{HOW_TO_READ}.md").strip())
    return reading | text_pages("methods", describe_methods())


def describe_methods() -> str:
    """Describe the methods of this project: docstrings, and the papers that they name."""
    parts = ["# Methods"]
    for name in plugins.method_names():
        module = plugins.method_module(name)
        if not Path(module.__file__ or "").is_relative_to(search_path.PACKAGE.parent):
            continue
        docs = [inspect.cleandoc(text) for text in (module.__doc__, module.Method.__doc__) if text]
        links = dict.fromkeys(re.findall(r"arXiv (\d{4}\.\d{4,5})", " ".join(docs)))
        parts += [f"## {name}", *("\n\n".join(docs).split("\n\n"))]
        if links:
            parts.append(f"Paper: {', '.join(f'https://arxiv.org/abs/{each}' for each in links)}")
    return "\n\n".join(parts)


def text_pages(name: str, text: str) -> dict[str, bytes]:
    """Render a text of headings, paragraphs and lists as Markdown and as a page, by file name."""
    title, *blocks = text.split("\n\n")
    page = fill_template("reading.html.j2", title=title.removeprefix("# "), blocks=blocks)
    return {f"{name}.md": f"{text}\n".encode(), f"{name}.html": page.encode()}


def index_html(entries: Sequence[IndexEntry], links: Mapping[str, str] | None = None) -> str:
    """Render the index of boards as a page; `links` are addresses by their text."""
    papers = dict.fromkeys(entry.paper for entry in sorted(entries, key=lambda entry: entry.paper))
    groups = {paper: [entry for entry in entries if entry.paper == paper] for paper in papers}
    return fill_template("index.html.j2", groups=groups, links=links or {})


def index_markdown(entries: Sequence[IndexEntry]) -> str:
    """Render the index of boards as Markdown."""
    lines = [
        [
            f"[{escape(entry.title)}]({entry.name}/README.md)",
            escape(entry.datasets),
            escape(f"{entry.headline} ({entry.ran})" if entry.ran else entry.headline),
            str(entry.num_rows),
            escape(entry.status),
        ]
        for entry in entries
    ]
    table = markdown_table(["board", "data sets", "result", "rows", "status"], lines)
    return f"# Leaderboards\n\n{table}\n"


def write_pages(pages: dict[str, bytes], folder: Path) -> list[Path]:
    """Write pages by file name, each atomically."""
    # All pages are rendered before the first is written, so an error leaves the old ones alone.
    for name, content in pages.items():
        write_atomic(folder / name, content)
    return [folder / name for name in pages]
