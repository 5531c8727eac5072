"""A board as files: CSV, LaTeX, Markdown and JSON, put together from pieces that stand in the page.

The command line joins all pieces; the page's script joins those of the rows and columns that are
shown, by the same rule (`templates/export.js`). So both give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.report.cells import plain
from bench.report.format import arrow
from bench.report.render import csv, latex
from bench.report.render.markdown import escape, row_name
from bench.report.render.markdown import pieces as markdown_pieces
from bench.report.table import Block, BoardTable, Row

PARTS = ("sd", "pub", "ci", "p")
"""What may stand behind a value, in this order; the page has a switch for each."""

TYPES = {
    "csv": "text/csv",
    "tex": "application/x-tex",
    "md": "text/markdown",
    "json": "application/json",
}


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A document in pieces.

    Attributes:
        before: Opens it; `column` follows once a shown column, then `opened`.
        heads: Head of each column; between `head_start` and `head_end`, each after `lead` or `sep`.
        rule_start: Opens the line below the heads, with `rule` once a column and `rule_end`.
        head_in_block: Whether heads stand in each block instead of once.
        blocks: Opens each block; "{n}" is the number of shown columns and one.
        rows: Opens each row of each block.
        cells: Of each row: the value, then what may stand behind it, as in `PARTS`; an empty value
            leaves its cell out.
        lead: Before the first cell; sep: before the others.
        row_end: Closes a row; row_end_empty: one without cells; between: stands between rows.
        after: Closes the document.
    """

    before: str = ""
    column: str = ""
    opened: str = ""
    heads: tuple[str, ...] = ()
    head_start: str = ""
    head_end: str = ""
    rule_start: str = ""
    rule: str = ""
    rule_end: str = ""
    head_in_block: bool = False
    blocks: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]
    lead: str = ""
    sep: str = ""
    row_end: str = ""
    row_end_empty: str = ""
    between: str = ""
    after: str = ""


def switches(table: BoardTable) -> tuple[str, ...]:
    """Return the parts that are shown unless a reader chooses others."""
    printed = any(cell.published for block in table.datasets for row in block.rows
                  for cell in row.cells)  # fmt: skip
    return ("sd", "pub") if printed else ("sd",)


def documents(table: BoardTable) -> dict[str, Pieces]:
    """Take a board apart, by the ending of the file's name."""
    return {
        "csv": _csv(table),
        "tex": _latex(table),
        "md": _markdown(table),
        "json": _json(table),
    }


def page_pieces(table: BoardTable) -> dict[str, object]:
    """Return the pieces as the page's script reads them: what is empty is left out."""
    return {
        name: {key: value for key, value in asdict(one).items() if value}
        for name, one in documents(table).items()
    }


def join(pieces: Pieces, shown: Sequence[str]) -> str:
    """Put a whole document together.

    Args:
        pieces: Of the document.
        shown: Parts that stand behind the values.
    """
    num = len(pieces.cells[0][0]) if pieces.cells and pieces.cells[0] else 0
    head = ""
    if pieces.heads:
        head = pieces.head_start + _joined(pieces, pieces.heads) + pieces.head_end
        head += pieces.rule_start + pieces.rule * num + pieces.rule_end
    text = pieces.before + pieces.column * num + pieces.opened
    text += "" if pieces.head_in_block else head
    first = True
    for block, rows, cells in zip(pieces.blocks, pieces.rows, pieces.cells, strict=True):
        text += block.replace("{n}", str(num + 1)) + (head if pieces.head_in_block else "")
        for row, of_row in zip(rows, cells, strict=True):
            kept = [_cell(cell, shown) for cell in of_row if cell[0]]
            end = pieces.row_end if kept else pieces.row_end_empty or pieces.row_end
            text += ("" if first else pieces.between) + row + _joined(pieces, kept) + end
            first = False
    return text + pieces.after


def _joined(pieces: Pieces, cells: Sequence[str]) -> str:
    return (pieces.lead if cells else "") + pieces.sep.join(cells)


def _cell(cell: Sequence[str], shown: Sequence[str]) -> str:
    return cell[0] + "".join(
        part for name, part in zip(PARTS, cell[1:], strict=False) if name in shown
    )


def _csv(table: BoardTable) -> Pieces:
    return Pieces(
        before=csv.header_line(),
        blocks=tuple("" for _ in table.datasets),
        rows=tuple(tuple("" for _ in block.rows) for block in table.datasets),
        cells=tuple(
            tuple(
                tuple((csv.line(table, block, row, cell),) for cell in row.cells)
                for row in block.rows
            )
            for block in table.datasets
        ),
    )


def _latex(table: BoardTable) -> Pieces:
    return Pieces(
        before=latex.before(table),
        column="r",
        opened="}\n\\toprule\n",
        heads=tuple(latex.head(metric) for metric in table.metrics),
        head_end=latex.END,
        blocks=tuple(latex.block(block) for block in table.datasets),
        rows=tuple(tuple(latex.name(row) for row in block.rows) for block in table.datasets),
        cells=tuple(
            tuple(tuple(latex.pieces(cell) for cell in row.cells) for row in block.rows)
            for block in table.datasets
        ),
        lead=" & ",
        sep=" & ",
        row_end=latex.END,
        after=latex.AFTER,
    )


def _markdown(table: BoardTable) -> Pieces:
    return Pieces(
        before=f"# {escape(table.title)}\n",
        heads=tuple(f"{escape(metric)}&nbsp;{arrow(metric)}" for metric in table.metrics),
        head_start="| ",
        head_end=" |\n",
        rule_start="| :--",
        rule=" | --:",
        rule_end=" |\n",
        head_in_block=True,
        blocks=tuple(f"\n## {escape(block.title)}\n\n" for block in table.datasets),
        rows=tuple(tuple(f"| {row_name(row)}" for row in block.rows) for block in table.datasets),
        cells=tuple(
            tuple(tuple(markdown_pieces(row, cell) for cell in row.cells) for row in block.rows)
            for block in table.datasets
        ),
        lead=" | ",
        sep=" | ",
        row_end=" |\n",
    )


def _json(table: BoardTable) -> Pieces:
    """Spell `bench report --json` of this board: its indents are those of `json.dumps`."""
    return Pieces(
        before=f'{{\n  "boards": [\n    {{\n      "name": {json.dumps(table.name)},\n'
        '      "rows": [\n',
        blocks=tuple("" for _ in table.datasets),
        rows=tuple(tuple(_json_row(block, row) for row in block.rows) for block in table.datasets),
        cells=tuple(tuple(_json_cells(row) for row in block.rows) for block in table.datasets),
        sep=",",
        row_end="\n          }\n        }",
        row_end_empty="}\n        }",
        between=",\n",
        after="\n      ]\n    }\n  ]\n}\n",
    )


def _json_row(block: Block, row: Row) -> str:
    lines = (("method", row.name), ("dataset", block.dataset))
    fields = "".join(f'          "{key}": {json.dumps(value)},\n' for key, value in lines)
    return f'        {{\n{fields}          "metrics": {{'


def _json_cells(row: Row) -> tuple[tuple[str, ...], ...]:
    found = []
    for cell in row.cells:
        lines = ",\n".join(
            f'              "{key}": {json.dumps(value)}' for key, value in plain(cell).items()
        )
        text = f"\n            {json.dumps(cell.metric)}: {{\n{lines}\n            }}"
        found.append((text if cell.mean is not None else "",))
    return tuple(found)
