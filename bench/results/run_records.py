"""Records of what was run into a results folder: its boards, and the last run."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.config.cards import BoardCard, RowCounts
from bench.config.request import ExecutionOptions, RunRequest
from bench.config.toml import Card
from bench.errors import BenchError
from bench.files import write_atomic
from bench.plan.board_selection import (
    PlannedBoards,
    plan_boards,
    select_boards,
)
from bench.plan.trials import Board, BoardSelection

BOARDS = "boards"
LAST_RUN = "last-run.json"


class BoardRecord(Card):
    """A board as it was run; the file's name is that of its pages."""

    name: str
    card: BoardCard
    settings: tuple[str, ...]
    rows: RowCounts
    files: dict[str, dict[str, str]] = {}
    model_paths: dict[str, Path] = {}


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """What was run into a results folder last, and how.

    Relative paths refer to `folder`, its working directory.
    """

    folder: Path
    request: RunRequest
    execution: ExecutionOptions


def record_boards(selection: BoardSelection, results: Path) -> None:
    """Write down the boards that are run, so that later reports can show them."""
    for board in selection.boards:
        record = BoardRecord(
            name=board.name,
            card=board.card,
            settings=selection.settings,
            rows=selection.rows,
            files={name: dict(files) for name, files in selection.files.items()},
            model_paths=dict(selection.model_paths),
        )
        path = results / BOARDS / f"{board.page}.json"
        write_atomic(path, (record.model_dump_json(indent=1) + "\n").encode())


def list_recorded(results: Path) -> dict[str, Path]:
    """List the records of boards in a results folder by page; it may have none."""
    return {path.stem: path for path in sorted((results / BOARDS).glob("*.json"))}


def read_boards(results: Path) -> list[BoardSelection]:
    """Read the boards that were run into a results folder, one selection per board.

    A record that cannot be read is named on standard error and left out.

    Raises:
        BenchError: If there is none.
    """
    paths = list_recorded(results)
    if not paths:
        raise BenchError(
            f"There are no results in {results}.",
            "Run a board first (bench run --suite quick), or name one with --board B.",
        )
    selections = []
    for path in paths.values():
        try:
            selections.append(read_board(path))
        except BenchError as error:
            print(f"Left out: {error.message} {error.hint}", file=sys.stderr)
    if not selections:
        raise BenchError(f"No board in {results} can be read.", "Run again.")
    return selections


def read_board(path: Path) -> BoardSelection:
    """Read one record of a board.

    Raises:
        BenchError: If it is damaged.
    """
    try:
        record = BoardRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, error, "Run again.") from error
    return BoardSelection(
        boards=(Board(name=record.name, card=record.card, page=path.stem),),
        settings=record.settings,
        rows=record.rows,
        model_paths=record.model_paths,
        files=record.files,
    )


def record_run(
    request: RunRequest, execution: ExecutionOptions, results: Path, *, folder: Path
) -> None:
    """Write down the run that starts now in a folder, so that `bench retry` can repeat it."""
    last = LastRun(folder=folder, request=request, execution=execution)
    text = TypeAdapter(LastRun).dump_json(last, indent=1)
    write_atomic(results / LAST_RUN, text + b"\n")


def read_last_run(results: Path) -> LastRun:
    """Read the last run into a results folder.

    Raises:
        BenchError: If there was none, its record is damaged, or its working directory is gone.
    """
    path = results / LAST_RUN
    if not path.is_file():
        raise BenchError(f"There was no run into {results}.", "First: bench run --suite quick")
    try:
        last = TypeAdapter(LastRun).validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, error, "Use bench run.") from error
    if not last.folder.is_dir():
        raise BenchError(f"The last run was in {last.folder}, which is gone.", "Use bench run.")
    return last


def _damaged(path: Path, error: ValidationError, hint: str) -> BenchError:
    mistake = error.errors()[0]
    where = ".".join(map(str, mistake["loc"]))
    reason = f"{where}: {mistake['msg']}" if where else mistake["msg"]
    return BenchError(f"{path} is damaged or was edited: {reason}.", hint)


def plan_requested(
    request: RunRequest, results: Path, *, data_dir: Path | None = None
) -> PlannedBoards:
    """Plan the boards that a request names; without a name, all that were run into a folder.

    Raises:
        BenchError: If the request changes boards without naming any, or nothing was run.
    """
    if not request.names_boards and request != RunRequest():
        message = "Options that change a board need to know which."
        raise BenchError(message, "Add --suite S or --board B.")
    selections = [select_boards(request)] if request.names_boards else read_boards(results)
    return [
        board
        for selection in selections
        for board in plan_boards(selection, data_dir=data_dir, lenient=True)
    ]


def plan_recorded(
    names: Collection[str], results: Path, other: Board | None = None
) -> PlannedBoards:
    """Plan the boards of these names that were run; those that no longer can be are left out.

    With another board, which they complete, only those that fit it; without, all, those that were
    run as their cards say after changed ones.
    """
    planned: PlannedBoards = []
    for path in list_recorded(results).values():
        try:
            selection = read_board(path)
            (board,) = selection.boards
            if board.name in names and (other is None or board.completes(other)):
                planned += plan_boards(selection, lenient=True)
        except BenchError as error:  # a method or data set may no longer exist
            print(f"Left out: {error.message}", file=sys.stderr)
    return sorted(planned, key=lambda pair: pair[0].page == pair[0].name)
