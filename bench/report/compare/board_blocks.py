"""Rows of the boards that were run into a results folder, found by name or method."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, unknown
from bench.plan.board_selection import plan_boards
from bench.plan.trials import Board, BoardSelection, Trial
from bench.results.run_records import read_boards


@dataclass(frozen=True, kw_only=True)
class BoardBlock:
    """One data set of a board that was run.

    Attributes:
        board: The board.
        dataset: Name of the data set.
        trials: Trials of each row by the row's name.
        methods: Names of the rows of each method.
    """

    board: Board
    dataset: str
    trials: dict[str, list[Trial]]
    methods: dict[str, list[str]]

    def find_row(self, name: str) -> str | None:
        """Find a row by its name, or by its method where no other row has that method.

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

    def list_paths(self, row: str, results: Path) -> list[Path]:
        """List the result files of a row, one per seed."""
        return [results / f"{trial.id}.json" for trial in self.trials[row]]


def find_blocks(results: Path, *, board: str | None, dataset: str | None) -> list[BoardBlock]:
    """Find the data sets of the boards that were run into a folder.

    Args:
        results: Folder of the results.
        board: Only this board.
        dataset: Only this data set.

    Raises:
        BenchError: If nothing was run there, or not this board or data set.
    """
    selections = {selection.boards[0].name: selection for selection in read_boards(results)}
    if board is not None and board not in selections:
        raise unknown(f"board in {results}", board, selections)
    blocks = [
        block
        for name, selection in selections.items()
        if board in (None, name)
        for block in split_selection(selection)
    ]
    selected = [block for block in blocks if dataset in (None, block.dataset)]
    if not selected:
        raise unknown(f"data set in {results}", str(dataset), {block.dataset for block in blocks})
    return selected


def split_selection(selection: BoardSelection) -> list[BoardBlock]:
    """Split the only board of a selection by data set."""
    board, row_trials = plan_boards(selection)[0]
    blocks = []
    for dataset in board.card.datasets:
        trials: dict[str, list[Trial]] = {}
        methods: dict[str, list[str]] = {}
        for row, trial in row_trials:
            if trial.dataset == dataset:
                trials.setdefault(row.name, []).append(trial)
                if row.name not in methods.setdefault(row.method, []):
                    methods[row.method].append(row.name)
        blocks.append(BoardBlock(board=board, dataset=dataset, trials=trials, methods=methods))
    return blocks


def require_rows(blocks: Sequence[BoardBlock], names: Sequence[str]) -> None:
    """Refuse a name that no row or method of the blocks has.

    Raises:
        BenchError: If there is one, with the most similar name.
    """
    for name in names:
        if not any(block.find_row(name) for block in blocks):
            rows = {row for block in blocks for row in (*block.trials, *block.methods)}
            raise unknown("row or method of the boards that were run", name, rows)


def find_block(
    blocks: Sequence[BoardBlock], names: Sequence[str], datasets: Collection[str] = ()
) -> BoardBlock:
    """Find the only block that has all of these rows.

    Args:
        blocks: Blocks to search.
        names: Rows or methods.
        datasets: Data sets that the block may be of; empty for any.

    Raises:
        BenchError: If no block has them, or several.
    """
    candidates = [block for block in blocks if not datasets or block.dataset in datasets]
    matches = [block for block in candidates if all(block.find_row(name) for name in names)]
    if not matches:
        require_rows(candidates, names)
        raise BenchError(f"No board that was run has both {' and '.join(names)}.")
    if len(matches) > 1:
        boards = ", ".join(f"{block.board.name} on {block.dataset}" for block in matches)
        raise BenchError(
            f"{' and '.join(names)} are rows of several boards: {boards}.",
            "Choose with --board B or --dataset D.",
        )
    return matches[0]
