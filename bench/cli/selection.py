"""From options to boards and trials: what a command line asks for."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cli.options import Asked
from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, Rows
from bench.config.toml import Override, check_card, parse_override
from bench.data.user_files import link_files, parse_files
from bench.errors import BenchError, unknown
from bench.files import write_atomic
from bench.metrics.registry import DEFAULT_METRICS
from bench.plan.trials import Board, Trial, board_trials, collect_ks

CUSTOM = "custom"
CUSTOM_BUDGET = "nano"
RECORDS = "boards"
LAST_RUN = "last-run.json"

Cells = list[tuple[BoardRow, Trial]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Boards as asked for, with what goes over theirs.

    Attributes:
        boards: The boards.
        settings: The `--set` options.
        rows: Rows over the budgets'.
        model_path: The user's own folder of the backbone.
        files: Checksums of raw files that the user named, by data set and role.
    """

    boards: tuple[Board, ...]
    settings: tuple[str, ...] = ()
    rows: Rows = field(default_factory=Rows)
    model_path: Path | None = None
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def overrides(self) -> list[Override]:
        """The `--set` options, parsed."""
        return [parse_override(text) for text in self.settings]


def select(asked: Asked) -> Selection:
    """Find the boards that the options name, narrowed and replaced as they say.

    Raises:
        BenchError: Where nothing is named, or something that does not exist.
    """
    if asked.suite is not None and asked.board is not None:
        raise BenchError("--suite and --board cannot be given together.", "Leave one out.")
    if asked.suite is not None:
        chosen = [_named(name) for name in plugins.suite_card(asked.suite).boards]
    elif asked.board is not None:
        chosen = [_named(asked.board)]
    elif asked.method and asked.dataset:
        chosen = [_custom(asked.method, asked.dataset)]
    else:
        raise BenchError(
            "Nothing was named to run.",
            "Give --suite S, --board B, or --method M … --dataset D …",
        )
    for name in asked.dataset or ():
        plugins.dataset_card(name)
    changed = {
        "datasets": tuple(asked.dataset) if asked.dataset else None,
        "model": asked.model,
        "seeds": asked.seeds,
        "budget": asked.scale,
    }
    scaled = {**changed, "model": asked.model or _model_of(asked.scale)}
    boards = tuple(
        _changed(board, asked.method, scaled if board.card.model else changed) for board in chosen
    )
    return Selection(
        boards=boards,
        files=_chosen_files(asked.file or (), boards),
        settings=tuple(asked.set_ or ()),
        rows=parse_rows(asked.rows or ""),
        model_path=None if asked.model_path is None else asked.model_path.absolute(),
    )


def _model_of(scale: str | None) -> str | None:
    """Return the backbone that a budget brings along; None for the board's own."""
    return None if scale is None else plugins.budget_card(scale).model


def _chosen_files(texts: Sequence[str], boards: Sequence[Board]) -> dict[str, dict[str, str]]:
    """Take the user's own raw files into the cache; their checksums by data set and role."""
    if not texts:
        return {}
    names = list(dict.fromkeys(name for board in boards for name in board.card.datasets))
    own = parse_files(texts, names)
    return {
        name: link_files(files, plugins.dataset_card(name)) for name, files in own.items() if files
    }


def _named(name: str) -> Board:
    return Board(name=name, card=plugins.board_card(name))


def _custom(methods: Sequence[str], datasets: Sequence[str]) -> Board:
    card = BoardCard(
        title=f"{', '.join(methods)} on {', '.join(datasets)}",
        datasets=tuple(datasets),
        rows=tuple(BoardRow(method=name) for name in methods),
        metrics=DEFAULT_METRICS,
        budget=CUSTOM_BUDGET,
    )
    return Board(name=CUSTOM, card=card)


def _changed(board: Board, methods: Sequence[str] | None, changed: dict[str, Any]) -> Board:
    update = {key: value for key, value in changed.items() if value is not None}
    if methods:
        rows = [row for name in methods for row in _rows_called(board.card, name)]
        update["rows"] = tuple(rows)
        if board.card.reference not in [row.name for row in rows]:
            update["reference"] = ""
    if not update:
        return board
    shown = [f"{key} {_spelled(value)}" for key, value in update.items() if key != "reference"]
    if board.name != CUSTOM:
        update["title"] = f"{board.card.title}, changed: {'; '.join(shown)}"
    content = board.card.model_dump() | update
    return Board(name=board.name, card=check_card(content, BoardCard, f"board {board.name}"))


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(one.name if isinstance(one, BoardRow) else str(one) for one in value)
    return str(value)


def _rows_called(card: BoardCard, name: str) -> list[BoardRow]:
    found = [row for row in card.rows if name in (row.method, row.name)]
    if not found:
        plugins.method_class(name)
    return found or [BoardRow(method=name)]


def parse_rows(text: str) -> Rows:
    """Parse `train=32,valid=8,test=16`; any part may be left out."""
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in Rows.model_fields:
            raise unknown("split in --rows", name, Rows.model_fields)
        if not number.isdigit() or int(number) < 1:
            raise BenchError(
                f"--rows {part!r} is no number of rows.",
                "Example: --rows train=512,valid=64,test=100",
            )
        counts[name] = int(number)
    return Rows(**counts)


def cells(selection: Selection, *, data_dir: Path | None = None) -> list[tuple[Board, Cells]]:
    """Plan every board of a selection."""
    methods = {row.method for board in selection.boards for row in board.card.rows}
    ks = collect_ks(selection.boards)
    return [
        (
            board,
            board_trials(
                board,
                ks=ks,
                overrides=selection.overrides,
                rows=selection.rows,
                data_dir=data_dir,
                model_path=selection.model_path,
                files=selection.files,
                methods_in_run=methods,
            ),
        )
        for board in selection.boards
    ]


def distinct(planned: Sequence[tuple[Board, Cells]]) -> list[Trial]:
    """Return every trial once, in order."""
    return list({trial.id: trial for _, row in planned for _, trial in row}.values())


def remember(selection: Selection, results: Path) -> None:
    """Write beside the results what was run, so that `bench report` alone can show it."""
    for board in selection.boards:
        content = {
            "card": board.card.model_dump(mode="json"),
            "settings": list(selection.settings),
            "rows": selection.rows.model_dump(),
            "files": {name: dict(files) for name, files in selection.files.items()},
            "model_path": None if selection.model_path is None else str(selection.model_path),
        }
        path = results / RECORDS / f"{board.name}.json"
        write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def remember_run(asked: Asked, way: Mapping[str, Any], results: Path) -> None:
    """Write beside the results what the last run was asked, and where it took place."""
    content = {"folder": str(Path.cwd()), "asked": dataclasses.asdict(asked), "way": dict(way)}
    text = json.dumps(content, indent=1, default=str) + "\n"
    write_atomic(results / LAST_RUN, text.encode())


def recall_run(results: Path) -> tuple[Path, Asked, dict[str, Any]]:
    """Return what `remember_run` wrote: the folder it ran in, what it was asked, and the way.

    Raises:
        BenchError: There was no run, or its record cannot be read.
    """
    path = results / LAST_RUN
    if not path.is_file():
        raise BenchError(f"There was no run into {results}.", "First: bench run --suite quick")
    try:
        content = json.loads(path.read_bytes())
        own = content["asked"].pop("model_path")
        asked = Asked(**content["asked"], model_path=None if own is None else Path(own))
        return Path(content["folder"]), asked, dict(content["way"])
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} is torn or was edited: {error}.", "Use bench run.") from error


def recall(results: Path) -> list[Selection]:
    """Return the boards that were run into a results folder, one selection each.

    Raises:
        BenchError: Where there are none.
    """
    paths = sorted((results / RECORDS).glob("*.json"))
    if not paths:
        raise BenchError(f"There are no results in {results}.", "First: bench run --suite quick")
    found = []
    for path in paths:
        try:
            found.append(_recalled(path))
        except BenchError as error:
            print(f"Left out: {error.message} {error.hint}", file=sys.stderr)
    if not found:
        raise BenchError(f"No board in {results} can be read.", "Run again.")
    return found


def _recalled(path: Path) -> Selection:
    try:
        content = json.loads(path.read_bytes())
        card = check_card(content["card"], BoardCard, str(path))
        rows = Rows(**content["rows"])
        settings = tuple(content["settings"])
        own, files = content.get("model_path"), content.get("files", {})
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} is torn or was edited: {error}.", "Run again.") from error
    return Selection(
        boards=(Board(name=path.stem, card=card),),
        settings=settings,
        rows=rows,
        model_path=None if own is None else Path(own),
        files=files,
    )
