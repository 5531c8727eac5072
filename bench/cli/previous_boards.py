"""Rows of boards that were run, found again in a results folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cli.selection import Cells, cells, recall
from bench.errors import BenchError, unknown
from bench.plan.trials import Board, Trial


@dataclass(frozen=True, kw_only=True)
class Block:
    """One data set of a board that was run.

    Attributes:
        board: As it was run.
        dataset: Its name.
        trials: Trials of each row by the row's name.
        methods: Rows of each method by its name.
    """

    board: Board
    dataset: str
    trials: dict[str, list[Trial]]
    methods: dict[str, list[str]]

    def row(self, name: str) -> str | None:
        """Find a row by its name, or by its method where no other row has that.

        Raises:
            BenchError: If several rows are of the method.
        """
        if name in self.trials:
            return name
        rows = self.methods.get(name, [])
        if len(rows) > 1:
            raise BenchError(
                f"{name} is the method of {len(rows)} rows of the board {self.board.name}.",
                f"Name one of them: {', '.join(rows)}.",
            )
        return rows[0] if rows else None

    def paths(self, row: str, results: Path) -> list[Path]:
        """List where the results of a row are, one a seed."""
        return [results / f"{trial.id}.json" for trial in self.trials[row]]


def blocks(results: Path, *, board: str | None, dataset: str | None) -> list[Block]:
    """Find the data sets of the boards that were run into a folder.

    Args:
        results: The folder.
        board: Only this board.
        dataset: Only this data set.

    Raises:
        BenchError: If nothing was run there, or not this board or data set.
    """
    selections = recall(results)
    known = [one.boards[0].name for one in selections]
    if board is not None and board not in known:
        raise unknown(f"board in {results}", board, known)
    found: list[Block] = []
    for selection in selections:
        if board in (None, selection.boards[0].name):
            found += _blocks(*cells(selection)[0])
    chosen = [one for one in found if dataset in (None, one.dataset)]
    if not chosen:
        raise unknown(f"data set in {results}", str(dataset), {one.dataset for one in found})
    return chosen


def _blocks(board: Board, planned: Cells) -> list[Block]:
    found = []
    for dataset in board.card.datasets:
        trials: dict[str, list[Trial]] = {}
        methods: dict[str, list[str]] = {}
        for row, trial in planned:
            if trial.dataset == dataset:
                trials.setdefault(row.name, []).append(trial)
                if row.name not in methods.setdefault(row.method, []):
                    methods[row.method].append(row.name)
        found.append(Block(board=board, dataset=dataset, trials=trials, methods=methods))
    return found


def only(chosen: Sequence[Block], names: Sequence[str], says: Callable[[Block], bool]) -> Block:
    """Find the one block that has all of these rows.

    Args:
        chosen: Blocks to search.
        names: Rows or methods.
        says: Whether a block may be taken, e.g. because it has the right data set.

    Raises:
        BenchError: If no block has them, or several.
    """
    fitting = [block for block in chosen if says(block)]
    have = [block for block in fitting if all(block.row(name) is not None for name in names)]
    if not have:
        for name in names:
            if not any(block.row(name) for block in fitting):
                known = {row for block in fitting for row in (*block.trials, *block.methods)}
                raise unknown("row or method of the boards that were run", name, known)
        raise BenchError(f"No board that was run has both {' and '.join(names)}.")
    if len(have) > 1:
        places = ", ".join(f"{block.board.name} on {block.dataset}" for block in have)
        raise BenchError(
            f"{' and '.join(names)} stand on several boards: {places}.",
            "Choose with --board B or --dataset D.",
        )
    return have[0]
