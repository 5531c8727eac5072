"""Folders of methods and cards: the package, a checkout, $BENCH_PATH."""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path

from bench.errors import BenchError

PACKAGE = Path(__file__).parents[1]

PRESETS = {
    "models": "presets/backbones",
    "encoders": "presets/encoders",
    "budgets": "presets/budgets",
}
"""Where the package keeps its own cards of a kind, if not in a folder of its name."""


def user_folders() -> list[Path]:
    """Return the folders of $BENCH_PATH, in order; a missing one is a mistake worth a sentence."""
    folders = [Path(part) for part in os.environ.get("BENCH_PATH", "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise BenchError(f"$BENCH_PATH names {folder}, which is no folder.", "Mend BENCH_PATH.")
    return [folder.resolve() for folder in folders]


def folders(room: str) -> list[str]:
    """Return all folders of one room ("methods", "datasets", …), existing ones only."""
    inside = "leaderboards/suites" if room == "suites" else room
    found = [PACKAGE / PRESETS.get(room, inside)]
    if _is_our_checkout(PACKAGE.parent):
        found.append(PACKAGE.parent / inside)
    for folder in user_folders():
        found += [folder / inside, folder]
    return [str(folder) for folder in found if folder.is_dir()]


@cache
def _is_our_checkout(root: Path) -> bool:
    try:
        with (root / "pyproject.toml").open("rb") as file:
            return bool(tomllib.load(file)["project"]["name"] == "llmrec-bench")
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return False
