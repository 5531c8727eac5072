"""The paper whose table a board reproduces: its numbers, and what differs from it.

A board reproduces a table where a claim of the paper (`leaderboards/claims/`) names it first;
the file says which data set and which row of ours stands for which of the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.config import plugins
from bench.config.cards import BoardCard, FigureCard
from bench.errors import unknown
from bench.report.captions import budget_paper
from bench.report.claims.cards import PaperClaims, find_claim_files, load_claims
from bench.report.deviations import find_card
from bench.report.published import Number, Published, load_published
from bench.report.table import Block, Cell, Figure, Row, Source
from bench.stats.descriptions import join_words


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper, as far as a board shows it."""

    board: str
    claims: PaperClaims
    numbers: Published

    @classmethod
    def of_board(cls, name: str) -> Paper | None:
        """Return the paper that a board reproduces; None for a board of our own."""
        for paper in sorted(find_claim_files()):
            claims = load_claims(paper)
            if any(name == claim.boards[0] for claim in claims.claims):
                return cls(board=name, claims=claims, numbers=load_published())
        return None

    def add_published_values(self, block: Block, in_place_of: Mapping[str, str]) -> Block:
        """Add the paper's numbers to the cells of a block; see `BoardCard.in_place_of`."""
        original = in_place_of.get(block.dataset, block.dataset)
        names = (name for name, card in self.claims.datasets.items() if card == original)
        dataset = next(names, None)
        if dataset is None:
            return block

        def add(row: Row, cell: Cell) -> Cell:
            value = self._number(row.name, dataset, cell.metric)
            change = self._number(row.gain_name, dataset, cell.metric)
            gain = cell.gain and replace(cell.gain, published=change)
            return replace(cell, published=value, gain=gain)

        rows = [replace(row, cells=tuple(add(row, c) for c in row.cells)) for row in block.rows]
        return replace(block, rows=tuple(rows))

    def resolve_figure(self, card: FigureCard) -> Figure:
        """Find the measure of a figure, and its published values by the name of our row."""
        if not card.measure:
            return Figure(card=card)
        if card.measure not in self.claims.measures:
            raise unknown("measure", card.measure, self.claims.measures)
        numbers = {
            self.claims.rows[row].row or row: number
            for row in self.claims.rows
            if (number := self._number(row, "", card.measure)) is not None
        }
        measure = self.claims.measures[card.measure]
        return Figure(card=card, measure=measure, published=numbers)

    @property
    def source(self) -> Source | None:
        """Which paper it is; None where the claims are our own."""
        return _name_source(self.claims) if self.claims.paper else None

    def _number(self, row: str, dataset: str, metric: str) -> Number | None:
        return self.claims.find_number(self.numbers, row, dataset, metric)

    def differences(self, card: BoardCard, blocks: Sequence[Block]) -> list[str]:
        """Say what differs from the paper here."""
        if not self.claims.paper:
            return []
        sentences = []
        theirs = self.claims.backbone
        if card.model is None:
            sentences.append(
                "This board names no language model, so rows that need one cannot run."
            )
        elif card.model.lower() != theirs.lower():
            backbone = f"the paper uses {theirs}" if theirs else "the paper does not name its own"
            sentences.append(f"The backbone here is {card.model}; {backbone}.")
        sentences += [f"{new} is in place of {old}." for new, old in card.in_place_of.items()]
        datasets = {card.in_place_of.get(block.dataset, block.dataset): block for block in blocks}
        additional = sorted(datasets.keys() - set(self.claims.datasets.values()))
        if additional:
            sentences.append(f"Not a data set of the paper: {join_words(additional)}.")
        board = find_card(plugins.board_card, self.board)  # its data sets are those of the table
        expected = board.datasets if board else tuple(self.claims.datasets.values())
        run = {name for name, block in datasets.items() if block.has_results}
        absent = [
            name
            for name, dataset in self.claims.datasets.items()
            if dataset in expected and dataset not in run
        ]
        if absent:
            sentences.append(f"Data sets of the paper without results here: {join_words(absent)}.")
        of_paper = budget_paper(card.budget)
        if of_paper != self.claims.paper:
            whose = f"that of {of_paper}" if of_paper else "not the paper’s"
            sentences.append(f"The budget is “{card.budget}”, {whose}.")
        rows = [row for name in datasets if name in run or not run for row in datasets[name].rows]
        successful = {row.name for row in rows if row.successful}
        published = dict.fromkeys(row.name for row in rows if any(c.published for c in row.cells))
        if not_run := [name for name in published if name not in successful]:
            sentences.append(f"Rows of the paper that we have not run: {join_words(not_run)}.")
        if sentences and card.full_run:
            sentences.append(card.full_run)
        return sentences


def find_source(paper: str) -> Source | None:
    """Return the paper with a short name; None without a file of its claims."""
    files = map(load_claims, sorted(find_claim_files()))
    return next((_name_source(claims) for claims in files if claims.paper == paper), None)


def _name_source(claims: PaperClaims) -> Source:
    return Source(paper=claims.paper, title=claims.title, url=claims.url)
