"""From a request to boards and their planned trials."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, RowCounts
from bench.config.request import RunRequest
from bench.config.toml import check_card
from bench.data.user_files import link_files, parse_files
from bench.errors import BenchError, unknown
from bench.hashing import digest
from bench.metrics.registry import DEFAULT_METRICS, parse_bounds
from bench.plan.backbones import find_model_paths, name_model
from bench.plan.trials import Board, BoardSelection, Trial, board_trials

MAX_NAME = 60
REHEARSAL_DATA = "synthetic-rated"
REHEARSAL_BUDGET = "smoke"
CUSTOM_BUDGET = "nano"
MAX_EXAMPLES = 5
CHANGED = ", changed: "

RowTrials = list[tuple[BoardRow, Trial]]
PlannedBoards = list[tuple[Board, RowTrials]]


def select_boards(request: RunRequest, *, offline: bool = False) -> BoardSelection:
    """Find the boards that a request names, and change them as it says.

    Offline, a model of the hub that is named for the first time is not fetched.

    Raises:
        BenchError: If the request names nothing, or something that does not exist.
    """
    if request.rehearse:
        request = _rehearse(request)
    named = request
    if request.model is not None:
        request = dataclasses.replace(request, model=name_model(request.model, offline=offline))
    if request.suite is not None and request.board is not None:
        raise BenchError("--suite and --board cannot be given together.", "Leave one out.")
    if request.suite is not None:
        names: Sequence[str] = plugins.suite_card(request.suite).boards
    else:
        names = [request.board] if request.board is not None else []
    boards = [Board(name=name, card=plugins.board_card(name)) for name in names]
    if not boards and request.methods and request.datasets:
        boards = [_custom_board(request)]
    if not boards:
        raise BenchError(
            "Nothing was named to run.",
            "Give --suite S, --board B, or --method M … --dataset D …",
        )
    for text in request.datasets:
        plugins.dataset_card(_split_replaced(text)[1])
    boards = [_name_page(_change_board(board, request), named) for board in boards]
    if request.name and len(boards) > 1:
        raise BenchError("--name is for the pages of one board.", "Leave it out, or --suite.")
    return BoardSelection(
        boards=tuple(boards),
        files=_store_user_files(request.files, boards),
        settings=request.settings,
        rows=check_card(request.rows, RowCounts, "--rows"),
        model_paths=_find_model_paths(request.model_paths, boards),
        model_option="--model" if request.model else "--model-set" * bool(request.model_settings),
    )


def _rehearse(request: RunRequest) -> RunRequest:
    """Replace data, budget with its backbone, and seeds by the smallest."""
    if request.datasets or request.budget or request.model or request.model_paths:
        raise BenchError(
            "--rehearse chooses data, budget and model.", "Leave out these options, or --rehearse."
        )
    return dataclasses.replace(
        request, datasets=(REHEARSAL_DATA,), budget=REHEARSAL_BUDGET, seeds=request.seeds or 1
    )


def _find_model_paths(texts: Sequence[str], boards: Sequence[Board]) -> dict[str, Path]:
    """Return the user's own folders by card; each card must be that of some row."""
    models = {row.model or board.card.model or "" for board in boards for row in board.card.rows}
    cards = {model.partition(":")[0] for model in models - {""}}
    paths = find_model_paths(texts, models)
    for name in paths.keys() - cards:
        raise unknown("backbone of these boards", name, cards)
    return paths


def _store_user_files(texts: Sequence[str], boards: Sequence[Board]) -> dict[str, dict[str, str]]:
    """Copy the user's own raw files into the cache; return checksums by data set and role."""
    if not texts:
        return {}
    names = list(dict.fromkeys(name for board in boards for name in board.card.datasets))
    paths = parse_files(texts, names)
    return {
        name: link_files(files, plugins.dataset_card(name))
        for name, files in paths.items()
        if files
    }


def _custom_board(request: RunRequest) -> Board:
    card = BoardCard(
        title=f"{', '.join(request.methods)} on {', '.join(request.datasets)}",
        datasets=request.datasets,
        rows=tuple(BoardRow(method=name) for name in request.methods),
        metrics=DEFAULT_METRICS,
        budget=CUSTOM_BUDGET,
    )
    return Board(name=_slug(card.title), card=card)


def _change_board(board: Board, request: RunRequest) -> Board:
    """Apply a request to a board; the title says what changed."""
    budget_model = request.budget and plugins.budget_card(request.budget).model
    model = request.model or (budget_model if board.card.model else None)
    if request.model_settings:
        model = _change_model(model or board.card.model, request.model_settings)
        rows = [
            row.model_copy(update={"model": _change_model(row.model, request.model_settings)})
            for row in board.card.rows
        ]
        board = replace(board, card=board.card.model_copy(update={"rows": tuple(rows)}))
    replaced = _parse_replaced(request.datasets, board.card)
    requested = {
        "datasets": tuple(_split_replaced(text)[1] for text in request.datasets) or None,
        "in_place_of": replaced or None,
        "model": model,
        "seeds": request.seeds,
        "data_seed": request.data_seed,
        "budget": request.budget,
        "exclude_seen": request.exclude_seen or None,
        "equivalence": parse_bounds([request.until_decided]) if request.until_decided else None,
    }
    update: dict[str, Any] = {
        key: value
        for key, value in requested.items()
        if value is not None and value != getattr(board.card, key)
    }
    if request.methods:
        rows = [row for name in request.methods for row in _find_rows(board.card, name)]
        update["rows"] = tuple(rows)
        if board.card.reference not in [row.name for row in rows]:
            update["reference"] = ""
        update["groups"] = _remaining_groups(board.card, rows)
    if request.floors:
        update["rows"] = (*update.get("rows", board.card.rows), *map(_add_floor, request.floors))
    if request.order_test:
        update |= _test_order(update.get("rows", board.card.rows))
    if not update:
        return board
    if request.board or request.suite:
        hidden = {"reference", "groups", "in_place_of"}
        if {*board.card.datasets} <= {*update.get("datasets", ()), *replaced.values()}:
            hidden.add("datasets")
        changes = [f"{new} in place of {old}" for new, old in replaced.items()]
        changes += [f"{key} {_format(value)}" for key, value in update.items() if key not in hidden]
        update["title"] = f"{board.card.title}{CHANGED}{'; '.join(changes)}"
    content = board.card.model_dump() | update
    return Board(name=board.name, card=check_card(content, BoardCard, f"board {board.name}"))


def split_title(title: str) -> tuple[str, str]:
    """Split the title of a board into its own and what a request changed, empty for nothing."""
    name, _, changes = title.partition(CHANGED)
    return name, changes


def _parse_replaced(texts: Sequence[str], card: BoardCard) -> dict[str, str]:
    """Return the board's data set that each new one replaces, by the new one, from OLD=NEW.

    Raises:
        BenchError: If OLD is no data set of the board.
    """
    pairs = [_split_replaced(text) for text in texts]
    for old, _ in pairs:
        if old and old not in card.datasets:
            raise unknown("data set of the board", old, card.datasets)
    return {new: old for old, new in pairs if old}


def _split_replaced(text: str) -> tuple[str, str]:
    """Return OLD and NEW of OLD=NEW, else "" and the text, which may be CARD:FIELD=VALUE."""
    old, equals, new = text.partition("=")
    return (old, new) if equals and ":" not in old else ("", text)


def _test_order(rows: Sequence[BoardRow]) -> dict[str, Any]:
    """Return rows with their variants, each in a group that is compared with the row itself."""
    texts = {"ties": "ties shuffled", "all": "histories shuffled"}
    groups: dict[str, Any] = {}
    for row in rows:
        variants = [
            row.model_copy(
                update={"label": f"{row.name}, {text}", "test_order": order, "ranked": False}
            )
            for order, text in texts.items()
        ]
        groups[row.name] = (row, *variants)
    return {
        "rows": tuple(itertools.chain(*groups.values())),
        "reference": "",
        "groups": {
            name: {"reference": name, "rows": [row.name for row in members]}
            for name, members in groups.items()
        },
    }


def _name_page(board: Board, request: RunRequest) -> Board:
    """Name the pages of a changed board by its changes, so that they replace no other pages."""
    declared = board.name in plugins.card_paths("leaderboards")
    others = ("settings", "rows", "files", "model_paths")
    same_card = not declared or board.card == plugins.board_card(board.name)
    if same_card and declared and not any(getattr(request, name) for name in others):
        if request.name:
            raise BenchError("--name is for boards that options change.", "Leave it out.")
        return board
    if request.name:
        if _slug(request.name) != request.name or request.name in plugins.card_paths(
            "leaderboards"
        ):
            raise BenchError(
                f"--name {request.name} is the name of a board, or not a name of a folder.",
                "Use other lower-case letters, digits and hyphens.",
            )
        return replace(board, page=request.name)
    if request.rehearse:
        return replace(board, page=f"{board.name}-rehearsal")
    in_name = {"suite", "board"} | ({"seeds"} if request.until_decided else set())
    in_name |= set() if declared else {"methods", "datasets"}
    changes = [
        word
        for name, value in vars(request).items()
        if value and name not in in_name
        for word in _write_change(name, value)
    ]
    return replace(board, page=_slug(" ".join([board.name, *changes])))


def _write_change(name: str, value: object) -> Sequence[str]:
    """Write a field of a request as words, with the field's name if the value alone is unclear."""
    match value:
        case str():
            return [value]
        case tuple() if name == "floors":
            return [f"floor-{method}" for method in value]
        case tuple():
            return value
        case Mapping():
            return [f"{key}-{entry}" for key, entry in value.items()]
    return [name if value is True else f"{name}-{value}"]


def _slug(text: str) -> str:
    """Write a text as the name of a folder; a long one ends in a hash of what is left out."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (
        slug if len(slug) <= MAX_NAME else f"{slug[: MAX_NAME - 7].strip('-')}-{digest(text)[:6]}"
    )


def _change_model(name: str | None, settings: Sequence[str]) -> str | None:
    """Add `--model-set` options to the name of a backbone, if there is one."""
    return name and ",".join((name, *settings)).replace(",", "," if ":" in name else ":", 1)


def _remaining_groups(card: BoardCard, rows: Sequence[BoardRow]) -> dict[str, Any]:
    """Reduce groups to these rows; the first row left replaces a reference that is left out."""
    names = [row.name for row in rows]
    groups = {}
    for heading, group in card.groups.items():
        remaining = [name for name in names if name in group.rows]
        if remaining:
            has_reference = group.reference in ("", *names)
            first = next(
                name for name in names if card.reference_of(name) == card.reference_of(remaining[0])
            )
            groups[heading] = {
                "rows": remaining,
                "reference": group.reference if has_reference else first,
                "apart": group.apart and has_reference,
                "gain": group.gain if has_reference and group.gain in names else "",
            }
    return groups


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(item.name if isinstance(item, BoardRow) else item for item in value)
    return str(value)


def _find_rows(card: BoardCard, name: str) -> list[BoardRow]:
    """Return the rows of this name or method, or a new row of the method."""
    rows = [row for row in card.rows if name in (row.method, row.name)]
    if not rows:
        plugins.method_class(name)
    return rows or [BoardRow(method=name)]


def _add_floor(method: str) -> BoardRow:
    plugins.method_class(method)
    return BoardRow(method=method, label=f"{method} (floor)", floor=True)


def plan_boards(
    selection: BoardSelection, *, data_dir: Path | None = None, lenient: bool = False
) -> PlannedBoards:
    """Plan every trial of a selection.

    If `lenient`, a row that can no longer be planned has trials with the reason as their problem: a
    method of an earlier run may be gone, or have lost a setting.

    Raises:
        BenchError: If a setting does not exist or is not valid, or an option changes backbones
            where no row has one.
    """
    planned = [
        (board, board_trials(board, selection, data_dir=data_dir, lenient=lenient))
        for board in selection.boards
    ]
    trials = distinct_trials(planned)
    if selection.model_option and not any(map(_may_use_model, trials)):
        raise BenchError(
            f"{selection.model_option} is for language models, and no row uses one.",
            "Leave it out, or name a method on a language model.",
        )
    return planned


def _may_use_model(trial: Trial) -> bool:
    """Return whether a stage of a trial has a backbone; True for a trial without a plan."""
    waiting, visited = [*trial.evaluations.values()], set()
    while waiting:
        stage = waiting.pop()
        if "backbone" in stage.inputs:
            return True
        visited.add(id(stage))
        waiting += [each for each in stage.inputs.values() if id(each) not in visited]
    return not trial.evaluations


def distinct_trials(planned: PlannedBoards) -> list[Trial]:
    """Return every trial once, in order."""
    return list({trial.id: trial for _, rows in planned for _, trial in rows}.values())


def find_trial(trials: Sequence[Trial], name: str | None, seed: int | None) -> Trial:
    """Find the only trial with this id, or this method, and seed; None for any.

    Raises:
        BenchError: If there is none, or there are several.
    """
    named = [
        trial
        for trial in trials
        if name in (None, trial.id, trial.method, f"{trial.dataset}/{trial.method}")
    ]
    if not named:
        raise unknown("trial", name or "", [trial.id for trial in trials])
    matches = [trial for trial in named if seed in (None, trial.seed)]
    if not matches:
        seeds = ", ".join(map(str, sorted({trial.seed for trial in named})))
        raise BenchError(f"None of these trials has the seed {seed}.", f"Seeds: {seeds}.")
    if len(matches) > 1:
        examples = ", ".join(trial.id for trial in matches[:MAX_EXAMPLES])
        more = ", …" if len(matches) > MAX_EXAMPLES else ""
        raise BenchError(f"{len(matches)} trials match.", f"Name one of them: {examples}{more}")
    return matches[0]
