"""Writes pages: all files of a board, and the index of all boards."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

from bench.config import plugins, search_path
from bench.files import write_atomic
from bench.report.assemble import values_json
from bench.report.costs import row_costs
from bench.report.render.cell_details import Examples
from bench.report.render.csv import render_costs_csv, render_csv
from bench.report.render.html import fill_template, read_source, render_html
from bench.report.render.index import IndexEntry, index_html, index_markdown
from bench.report.render.latex import render_latex
from bench.report.render.markdown import HOW_TO_READ, render_markdown
from bench.report.table import BoardTable
from bench.results.load import ResultSet

TABLE = "table.json"


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
    entries = _read_entries(folder)
    pages = {
        "README.md": index_markdown(entries).encode(),
        "index.html": index_html(entries, _find_links(folder)).encode(),
        **reading_pages(),
    }
    return write_pages(pages, folder)


def _find_links(folder: Path) -> dict[str, str]:
    """Return what the index links to besides boards: pages next to it, files of the checkout."""
    links = {"Methods": "methods.html", "How to read a board": f"{HOW_TO_READ}.html"}
    if (folder / "datasets" / "index.html").is_file():
        links["Data sets"] = "datasets/index.html"
    root, absolute = search_path.PACKAGE.parent, folder.resolve()
    if (root / "docs" / "index.md").is_file() and root in absolute.parents:
        up = "../" * len(absolute.relative_to(root).parts)
        links |= {
            "What our runs show": f"{up}docs/findings.md",
            "Documentation": f"{up}docs/index.md",
            "Code": f"{up}README.md",
        }
    return links


def _read_entries(folder: Path) -> list[IndexEntry]:
    suites = [plugins.suite_card(name) for name in plugins.card_paths("suites")]
    names = dict.fromkeys(name for suite in suites for name in (*suite.boards, *suite.data_tables))
    order = {name: rank for rank, name in enumerate(names)}  # a suite has the order of its paper
    entries = []
    for path in sorted(folder.glob(f"*/{TABLE}")):
        try:
            entries.append(IndexEntry.model_validate(json.loads(path.read_bytes())["page"]))
        except (OSError, ValueError, KeyError, TypeError):
            print(f"Not in the index: {path} is not a table of a board.", file=sys.stderr)
    return sorted(entries, key=lambda entry: order.get(entry.board, len(order)))


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


def write_pages(pages: dict[str, bytes], folder: Path) -> list[Path]:
    """Write pages by file name, each atomically."""
    # All pages are rendered before the first is written, so an error leaves the old ones alone.
    for name, content in pages.items():
        write_atomic(folder / name, content)
    return [folder / name for name in pages]
