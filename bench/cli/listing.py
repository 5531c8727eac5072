"""`bench list` and `bench show`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from bench.cli.options import AsJson
from bench.config import plugins
from bench.errors import BenchError, unknown


class Room(StrEnum):
    """What can be listed."""

    methods = "methods"
    datasets = "datasets"
    models = "models"
    boards = "boards"
    suites = "suites"
    encoders = "encoders"
    metrics = "metrics"


def list_things(
    what: Annotated[Room | None, typer.Argument(help="One kind; all of them by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List methods, data sets, models, boards, suites, encoders, metrics; errors of broken ones."""
    rooms = [what] if what else list(Room)
    found = {room: _listed(room) for room in rooms}
    if as_json:
        content = {
            room.value: [
                {"name": line.name, "summary": line.summary, "error": line.error or None}
                for line in lines
            ]
            for room, lines in found.items()
        }
        print(json.dumps(content, indent=2))
        return
    for room, lines in found.items():
        if len(rooms) > 1:
            print(f"{room.value}:")
        width = max((len(line.name) for line in lines), default=0)
        for line in lines:
            text = f"BROKEN: {line.error}" if line.error else line.summary
            print(f"  {line.name:<{width}}  {text}".rstrip())
        if not lines:
            print("  (none)")


def _listed(room: Room) -> list[plugins.Listed]:
    if room is Room.methods:
        return plugins.list_methods()
    if room is Room.metrics:
        from bench.metrics.registry import list_metrics

        return [
            plugins.Listed(name=metric.pattern, summary=metric.title) for metric in list_metrics()
        ]
    return plugins.list_cards("leaderboards" if room is Room.boards else room.value)


def show(
    name: Annotated[str, typer.Argument(help="A method, data set, model, board or suite.")],
    as_json: AsJson = False,
) -> None:
    """Show one thing whole: a method's settings, or a card; by name, in all rooms that have it."""
    found = dict(_shown(name))
    if not found:
        names = [*plugins.method_names(), *(n for room in _CARDS for n in plugins.card_paths(room))]
        raise unknown("method, data set, model, board or suite", name, set(names))
    if as_json:
        print(json.dumps(found, indent=2, default=str))
        return
    for kind, content in found.items():
        print(f"{kind} {name}")
        for key, value in content.items():
            print(f"  {key} = {json.dumps(value, default=str)}" if key != "about" else value)


_CARDS = ("datasets", "models", "leaderboards", "suites", "budgets", "encoders")


def _shown(name: str) -> list[tuple[str, dict[str, object]]]:
    from bench.config.plugins import encoder_card
    from bench.config.settings import settings_table

    found: list[tuple[str, dict[str, object]]] = []
    if name in plugins.method_names():
        doc = (plugins.method_class(name).__doc__ or "").strip()
        found.append(("method", {"about": f"  {doc}", **dict(settings_table(name))}))
    loaders = {
        "datasets": plugins.dataset_card,
        "models": plugins.model_card,
        "leaderboards": plugins.board_card,
        "suites": plugins.suite_card,
        "budgets": plugins.budget_card,
        "encoders": encoder_card,
    }
    for room in _CARDS:
        if name in plugins.card_paths(room):
            try:
                content = loaders[room](name).model_dump(mode="json")
            except BenchError as error:
                content = {"error": error.message}
            kind = {"leaderboards": "board"}.get(room, room.removesuffix("s"))
            found.append((kind, content))
    return found
