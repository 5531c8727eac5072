"""The only place of this room that writes: a board's pages, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.files import write_whole
from bench.report.costs import Ledger, bills
from bench.report.render import costs
from bench.report.render.exports import documents, join, switches
from bench.report.render.html import index_html, render_html
from bench.report.render.markdown import index_markdown, render_markdown
from bench.report.table import BoardTable


def render(table: BoardTable, folder: Path, ledger: Ledger | None = None) -> list[Path]:
    """Write a board's pages to `<folder>/<board>/`.

    Args:
        table: The board.
        folder: Where all boards' pages are.
        ledger: What stands behind its values; only the HTML page and costs.csv tell of it, so that
            all other files are equal where metrics are.

    Returns:
        The paths of README.md, index.html, table.csv, .tex, .md, .json and, with costs, costs.csv.
    """
    return write_pages(board_pages(table, ledger), folder / table.name)


def board_pages(table: BoardTable, ledger: Ledger | None = None) -> dict[str, bytes]:
    """Render a board's pages by file name, see `render`."""
    found = {
        "README.md": render_markdown(table),
        "index.html": render_html(table, ledger),
    }
    for name, pieces in documents(table).items():
        found[f"table.{name}"] = join(pieces, switches(table))
    pages = {name: text.encode() for name, text in found.items()}
    if ledger is not None and (known := bills(table, ledger)):
        pages["costs.csv"] = costs.render_csv(table, known)
    return pages


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
