"""`bench check`: the contract suite on a plug-in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from bench.config import search_path
from bench.errors import BenchError


def check(
    path: Annotated[Path, typer.Argument(help="A method's module (.py) or a card (.toml).")],
) -> None:
    """Check a method on generated data (seconds, no download), or a card against its schema."""
    if not path.is_file():
        raise BenchError(f"There is no file {path}.", "Give a method's module or a card.")
    if path.suffix == ".toml":
        print(f"ok    {_card_kind(path)} card {path.stem}")
        return
    from bench.config import plugins
    from bench.testing import check_method

    folder = path.resolve().parent
    known = [*map(Path, search_path.folders("methods"))]
    if folder not in known:
        extended = [str(folder), os.environ.get("BENCH_PATH", "")]
        os.environ["BENCH_PATH"] = os.pathsep.join(filter(None, extended))
    module = plugins.method_module(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise BenchError(
            f"The name {path.stem!r} is taken by {module.__file__}.", "Rename the module."
        )
    with tempfile.TemporaryDirectory() as workspace:
        checks = check_method(path.stem, Path(workspace))
    for one in checks:
        print(f"{'FAIL' if one.problem else 'ok':<6}{one.rule}")
        if one.problem:
            print(f"      {one.problem}")
    raise typer.Exit(1 if any(one.problem for one in checks) else 0)


def _card_kind(path: Path) -> str:
    from bench.config.backbone_card import ModelCard
    from bench.config.cards import BoardCard, DatasetCard, SuiteCard
    from bench.config.plugins import MARKS
    from bench.config.toml import Card, check_card, read_toml

    content = read_toml(path)
    schemas: dict[str, tuple[str, type[Card]]] = {
        "datasets": ("data set", DatasetCard),
        "leaderboards": ("board", BoardCard),
        "models": ("model", ModelCard),
        "suites": ("suite", SuiteCard),
    }
    for room, mark in MARKS.items():
        if mark in content:
            kind, schema = schemas[room]
            check_card(content, schema, str(path))
            return kind
    marks = ", ".join(f"{mark!r}" for mark in MARKS.values())
    raise BenchError(f"{path} is no card: it has none of the keys {marks}.")
