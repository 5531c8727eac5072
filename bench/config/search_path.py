"""Folders of methods and cards: the package, a checkout, $BENCH_PATH."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from bench.errors import BenchError, unknown

PACKAGE = Path(__file__).parents[1]
MAX_CARD_BYTES = 4 * 2**20

PRESETS = {
    "models": "presets/backbones",
    "encoders": "presets/encoders",
    "budgets": "presets/budgets",
}
"""Folders of the package's own cards of a kind, where they differ from the kind's name."""
INFERRED_MODELS = Path(".bench/models")
"""Cards of models that were named by folder or repository; see `bench.plan.backbones`."""


def user_folders() -> list[Path]:
    """Return the folders of $BENCH_PATH, in order.

    Raises:
        BenchError: One of them does not exist.
    """
    folders = [Path(part) for part in os.environ.get("BENCH_PATH", "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise BenchError(f"$BENCH_PATH names {folder}, which is no folder.", "Fix BENCH_PATH.")
    return [folder.resolve() for folder in folders]


def folders(kind: str) -> list[str]:
    """Return the existing folders of one kind of plug-in ("methods", "datasets", …)."""
    subfolder = "leaderboards/suites" if kind == "suites" else kind
    paths = [PACKAGE / PRESETS.get(kind, subfolder)]
    if _is_checkout(PACKAGE.parent):
        paths.append(PACKAGE.parent / subfolder)
    for folder in user_folders():
        paths += [folder / subfolder, folder]
    if kind == "models":
        paths.append(INFERRED_MODELS.absolute())
    return [str(path) for path in paths if path.is_dir()]


def extend_path(folder: Path, kind: str) -> str:
    """Write `BENCH_PATH=…` so that a folder's plug-ins are found; "" where they are already."""
    folder = folder.resolve()
    root = folder.parent if folder.name == kind else folder
    searched = [] if kind == "metrics" else folders(kind)  # a checkout's metrics/ is not
    if root in user_folders() or str(folder) in searched:
        return ""
    return f"BENCH_PATH={shlex.quote(os.pathsep.join(map(str, [root, *user_folders()])))}"


def unknown_plugin(what: str, kind: str, name: str, choices: Iterable[str]) -> BenchError:
    """Build the error for a name; its hint is a file in the working directory with that name."""
    files = {file.stem: file for file in Path(kind).glob("*.*") if file.suffix in (".py", ".toml")}
    if name in files and (extended := extend_path(Path(kind), kind)):
        hint = f"{files[name]} is found after: export {extended}"
        return BenchError(f"There is no {what} named {name!r}.", hint)
    return unknown(what, name, choices)


def find_files(
    paths: Iterable[Path | str], pattern: str, belongs: Callable[[Path], bool] = Path.exists
) -> dict[str, Path]:
    """Map the names of files in folders to their paths; the first folder wins."""
    files: dict[str, Path] = {}
    for folder in map(Path, paths):
        for path in sorted(folder.glob(pattern)):
            if belongs(path):
                files.setdefault(path.stem, path)
    return files


def read_start(file: Path) -> str:
    """Return the text of a plug-in's file; "" for a pipe, a dangling link or a folder."""
    try:
        text = file.read_bytes() if file.is_file() else b""
    except OSError:
        text = b""
    return text[:MAX_CARD_BYTES].decode(errors="replace")


@cache
def _is_checkout(root: Path) -> bool:
    try:
        with (root / "pyproject.toml").open("rb") as file:
            return bool(tomllib.load(file)["project"]["name"] == "llmrec-bench")
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return False
