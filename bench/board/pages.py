"""The only place of this room that writes: a board's pages, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.board.html import index_html, render_html
from bench.board.markdown import index_markdown, render_markdown
from bench.board.spreadsheet import render_csv
from bench.board.table import BoardTable
from bench.results import write_whole


def render(table: BoardTable, folder: Path) -> list[Path]:
    """Write a board's pages to `<folder>/<board>/`.

    Returns:
        The paths of README.md, index.html and table.csv.
    """
    pages = {
        "README.md": render_markdown(table).encode(),
        "index.html": render_html(table).encode(),
        "table.csv": render_csv(table),
    }
    return write_pages(pages, folder / table.name)


def render_index(tables: Sequence[BoardTable], folder: Path) -> list[Path]:
    """Write the list of these boards, with their state, to `<folder>/`.

    Returns:
        The paths of README.md and index.html.
    """
    pages = {
        "README.md": index_markdown(tables).encode(),
        "index.html": index_html(tables).encode(),
    }
    return write_pages(pages, folder)


def write_pages(pages: dict[str, bytes], folder: Path) -> list[Path]:
    """Write pages by file name, each whole or not at all."""
    # All pages are rendered before the first is written, so an error leaves the old ones alone.
    paths = []
    for name, content in pages.items():
        write_whole(folder / name, content)
        paths.append(folder / name)
    return paths
