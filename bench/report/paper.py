"""The paper whose table a board mirrors: its numbers beside ours, its marks, what differs from it.

A board mirrors a table where the paper's book of claims (`leaderboards/claims/`) names the board;
the book says which data set and which row of ours stands where in print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.config import plugins
from bench.config.cards import BoardCard
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.report.cells import marks
from bench.report.claims.cards import PaperClaims, find_claim_files, load_claims
from bench.report.format import listed
from bench.report.published import Number, Published
from bench.report.published import load as load_published
from bench.report.table import Block, Row, Source

PRINT = Path(__file__).with_name("print.toml")
FULL_BUDGET = "paper"


class PrintedMarks(Card):
    """Which rows of a table are marked as second.

    Attributes:
        rows: Those that compete for the mark, named as on our boards.
        underlined: By data set and metric, as the paper names them.
    """

    rows: tuple[str, ...]
    underlined: dict[str, dict[str, tuple[str, ...]]]


class Printed(Card):
    """What the papers print beside their numbers.

    Attributes:
        backbones: By paper; "" where it does not say.
        tables: By the name of the board that mirrors the table.
    """

    backbones: dict[str, str]
    tables: dict[str, PrintedMarks]


@dataclass(frozen=True, kw_only=True)
class InPrint:
    """A paper, as far as a board shows it."""

    board: str
    book: PaperClaims
    numbers: Published
    printed: Printed

    @classmethod
    def of_board(cls, name: str) -> InPrint | None:
        """Find the paper that a board mirrors; None for a board of our own."""
        for paper in sorted(find_claim_files()):
            book = load_claims(paper)
            if any(name in claim.boards for claim in book.claims):
                printed = check_card(read_toml(PRINT), Printed, str(PRINT))
                return cls(board=name, book=book, numbers=load_published(), printed=printed)
        return None

    def beside(self, block: Block, metrics: Sequence[str]) -> Block:
        """Put the paper's numbers into the cells of a block."""
        dataset = self._name_in_print(block.dataset)
        if dataset is None:
            return block
        return replace(
            block,
            rows=tuple(
                replace(
                    row,
                    cells=tuple(
                        replace(cell, published=self._number(row, dataset, cell.metric))
                        for cell in row.cells
                    ),
                )
                for row in block.rows
            ),
        )

    def source(self, card: BoardCard, blocks: Sequence[Block]) -> Source:
        """Say whose table it is, what here differs from it, and where its marks go astray."""
        departures, num_marks = self._departures(card, blocks)
        return Source(
            paper=self.book.paper,
            title=self.book.title,
            differences=tuple(self._differences(card, blocks)),
            departures=tuple(departures),
            num_marks=num_marks,
        )

    def _name_in_print(self, dataset: str) -> str | None:
        return next((name for name, ours in self.book.datasets.items() if ours == dataset), None)

    def _number(self, row: Row, dataset: str, metric: str) -> Number | None:
        if row.name not in self.book.rows:
            return None
        place = self.book.find_place(row.name, dataset, metric)
        return None if place is None else self.numbers.find(place)

    def _differences(self, card: BoardCard, blocks: Sequence[Block]) -> list[str]:
        found = []
        theirs = self.printed.backbones.get(self.book.paper, "")
        if card.model is None:
            found.append("No language model is named here, so rows that need one cannot run.")
        elif card.model.lower() != theirs.lower():
            in_print = f"the paper’s is {theirs}" if theirs else "the paper does not name its own"
            found.append(f"The backbone here is {card.model}; {in_print}.")
        ours = {block.dataset for block in blocks}
        others = sorted(ours - set(self.book.datasets.values()))
        if others:
            found.append(f"Not a data set of the paper: {listed(others)}.")
        mirrored = self._mirrored()
        absent = [
            name
            for name, dataset in self.book.datasets.items()
            if dataset in mirrored and dataset not in ours
        ]
        if absent:
            found.append(f"Data sets of the paper that are not here: {listed(absent)}.")
        if card.budget != FULL_BUDGET:
            found.append(f"The budget is “{card.budget}”, not the paper’s.")
        no_value = {
            row.name: None
            for block in blocks
            for row in block.rows
            if row.num_ok == 0 and any(cell.published is not None for cell in row.cells)
        }
        if no_value:
            found.append(f"Printed rows without a result of ours somewhere: {listed([*no_value])}.")
        return found

    def _mirrored(self) -> Sequence[str]:
        """Name the data sets of the table or figure: those that its board declares."""
        try:
            return plugins.board_card(self.board).datasets
        except BenchError:
            return tuple(self.book.datasets.values())

    def _departures(self, card: BoardCard, blocks: Sequence[Block]) -> tuple[list[str], int]:
        """Compare the underlines in print with the rule, applied to the printed numbers."""
        table = self.printed.tables.get(self.board)
        found: list[str] = []
        checked = 0
        if table is None:
            return found, checked
        for block in blocks:
            drawn = table.underlined.get(self._name_in_print(block.dataset) or "", {})
            for column, metric in enumerate(card.metrics):
                numbers = {
                    row.name: number
                    for row in block.rows
                    if row.ranked and (number := row.cells[column].published) is not None
                }
                # Among other rows than the paper's, the second is another one.
                if metric in drawn and set(numbers) == set(table.rows):
                    checked += 1
                    where = f"{block.title}, {metric}"
                    found += _departure(where, metric, drawn[metric], numbers)
        return found, checked


def _departure(
    where: str, metric: str, drawn: Sequence[str], numbers: Mapping[str, Number]
) -> list[str]:
    """Say in a sentence how the underlines of a column depart from the rule; nothing if not."""
    values = {name: number.value for name, number in numbers.items()}
    second = marks(values, higher_is_better=get_metric(metric).higher_is_better).second
    if set(drawn) == set(second):
        return []
    told = [listed([f"{name} ({values[name]:.4f})" for name in names]) for names in (drawn, second)]
    if not drawn:
        return [f"{where}: no underline can be read; by the rule the second is {told[1]}."]
    return [f"{where}: print underlines {told[0]}; by the rule the second is {told[1]}."]
