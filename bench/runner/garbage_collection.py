"""Garbage collection of the store and of the asset cache.

An artifact is kept if a plan or a result names it, if it was used recently, or if a kept artifact
was computed from it. Its last use is the file system's access time of its payload (with `noatime`,
the time of writing). Removing starts with a rename, so that a kill leaves only complete artifacts.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from bench.errors import BenchError
from bench.plan.board_selection import distinct_trials, plan_boards
from bench.plan.graph import build_graph
from bench.plan.trials import BoardSelection, Trial
from bench.results.run_records import list_recorded, read_boards
from bench.results.schema import read_result
from bench.runner.offline.needs import get_cache_path, list_assets
from bench.runner.store import ASIDE, BUILDING, META, Store

DAY = 86400.0
ASSET_FOLDER = re.compile(r"[0-9a-f]{16}")
KEY = re.compile(r"[0-9a-f]{32}")
INCOMPLETE, DAMAGED, SET_ASIDE, ASSET = "incomplete", "damaged", "set aside", "asset"


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """An artifact, folder or file that nothing needs.

    Attributes:
        kind: Kind of the artifact, or one of `INCOMPLETE`, `DAMAGED`, `SET_ASIDE` and
            `ASSET`.
        key: Key of the artifact, else a name.
    """

    kind: str
    key: str
    path: Path
    size: int


@dataclass(frozen=True, kw_only=True)
class StoreSurvey:
    """What may be removed from a store, and how many artifacts and bytes are kept."""

    garbage: tuple[Garbage, ...]
    num_kept: int
    kept_bytes: int


def survey_store(store: Store, required: Collection[str], *, keep_days: float) -> StoreSurvey:
    """Find garbage; nothing is changed.

    Artifacts that plans and results require are kept, those used within `keep_days`, and those they
    came from.
    """
    since = time.time() - keep_days * DAY
    metas = {meta["key"]: meta for meta in store.entries()}
    folders = {key: store.folder(meta["kind"], key) for key, meta in metas.items()}
    retained = {key for key in metas if key in required or get_last_use(folders[key]) >= since}
    stack = list(retained)
    while stack:
        inputs = metas[stack.pop()].get("inputs", {}).values()
        new = {key for key in inputs if key in metas} - retained
        retained |= new
        stack += new
    artifacts = [
        Garbage(kind=meta["kind"], key=key, path=folders[key], size=_count_bytes(meta))
        for key, meta in metas.items()
        if key not in retained
    ]
    return StoreSurvey(
        garbage=(*artifacts, *_find_damaged(store), *_find_leftovers(store, since)),
        num_kept=len(retained),
        kept_bytes=sum(_count_bytes(metas[key]) for key in retained),
    )


def get_last_use(folder: Path) -> float:
    """Return when a folder was written or a file of it last read, in seconds since 1970.

    `meta.json` is ignored, since listing the store reads it.
    """
    stats = [path.stat() for path in folder.rglob("*") if path.name != META and path.is_file()]
    times = [max(stat.st_atime, stat.st_mtime) for stat in stats]
    return max([folder.stat().st_mtime, *times])


def _count_bytes(meta: dict[str, Any]) -> int:
    return sum(int(file["size"]) for file in meta["files"].values())


def _measure(path: Path) -> int:
    """Return the bytes of a file or link, or of all files in a folder."""
    files = [file for file in (path, *path.rglob("*")) if file.is_symlink() or not file.is_dir()]
    return sum(file.lstat().st_size for file in files)


def _find_damaged(store: Store) -> Iterator[Garbage]:
    """Yield whatever is under a key and is no complete artifact of it; checksums are not read."""
    for path in sorted(store.root.glob("[!.]*/*")):
        kind, key = path.parent.name, path.name
        if KEY.fullmatch(key) and not store.has(kind, key):
            yield Garbage(kind=DAMAGED, key=f"{kind}-{key}", path=path, size=_measure(path))


def _find_leftovers(store: Store, since: float) -> Iterator[Garbage]:
    """Yield folders of killed workers, and old damaged artifacts."""
    for parent, kind in ((BUILDING, INCOMPLETE), (ASIDE, SET_ASIDE)):
        for folder in sorted((store.root / parent).glob("*-*-*")):
            if kind == INCOMPLETE or folder.stat().st_mtime < since:
                yield Garbage(kind=kind, key=folder.name, path=folder, size=_measure(folder))


def find_unused_assets(
    cache: Path, required: Collection[str], *, keep_days: float
) -> Iterator[Garbage]:
    """Yield fetched files of the cache that no plan requires and nobody used within `keep_days`.

    Only folders that the cache itself creates, one per file, are considered. A link to a file of
    the user's own counts, and is removed, as a link.
    """
    since = time.time() - keep_days * DAY
    for path in sorted(cache.glob("*/*")):
        name = f"{path.parent.name}/{path.name}"
        if not ASSET_FOLDER.fullmatch(path.parent.name) or name in required:
            continue
        stat = path.lstat()
        if max(stat.st_atime, stat.st_mtime) < since:
            yield Garbage(kind=ASSET, key=name, path=path, size=_measure(path))


def remove_garbage(store: Store, garbage: Garbage) -> bool:
    """Remove garbage unless its lock is held; return whether it is gone."""
    if garbage.kind in (SET_ASIDE, ASSET):
        _delete(garbage.path)
        if garbage.kind == ASSET and not any(garbage.path.parent.iterdir()):
            garbage.path.parent.rmdir()
        return True
    kind, key = garbage.kind, garbage.key
    if kind in (INCOMPLETE, DAMAGED):
        kind, key = garbage.key.split("-")[:2]
    try:
        with store.lock(kind, key).acquire(timeout=0):
            if garbage.kind == INCOMPLETE or not store.has(kind, key):
                _delete(garbage.path)
            elif garbage.kind == kind and garbage.path.exists():
                store.remove(kind, key)
    except Timeout:
        return False
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class NeededArtifacts:
    """What garbage collection must keep.

    Attributes:
        keys: Keys of the artifacts that a plan or a result names.
        notes: What could not be determined.
    """

    keys: set[str] = field(default_factory=set)
    assets: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def find_needed(results: Sequence[Path], searches: Path, data_dir: Path | None) -> NeededArtifacts:
    """Find what folders of results, and that of `bench tune`, need.

    Raises:
        BenchError: If a board or a result cannot be read, so that its needs are unknown.
    """
    artifacts = NeededArtifacts()
    for selection in (board for folder in results for board in _read_all_boards(folder)):
        trials = _plan(selection, data_dir)
        stages = build_graph(trial for trial in trials if not trial.problem).stages
        artifacts.keys.update(stages)
        artifacts.assets.update(
            get_cache_path(asset.file) for asset in list_assets(stages.values()) if asset.file
        )
        if problems := sum(bool(trial.problem) for trial in trials):
            artifacts.notes.append(
                f"{problems} trials of the board {selection.boards[0].page} can no longer be "
                "planned; their artifacts are kept only if a result names them or they were used "
                "recently."
            )
    for folder in (*results, searches):
        for path in sorted(folder.rglob("seed-*.json")):
            artifacts.keys.update(stage.key for stage in read_result(path).stages)
    return artifacts


def _read_all_boards(results: Path) -> list[BoardSelection]:
    selections = read_boards(results)
    if len(selections) != len(list_recorded(results)):
        raise BenchError(
            f"A board recorded in {results} cannot be read, so the artifacts it needs are unknown.",
            "Run it again, or remove its record.",
        )
    return selections


def _plan(selection: BoardSelection, data_dir: Path | None) -> list[Trial]:
    try:
        return distinct_trials(plan_boards(selection, data_dir=data_dir))
    except BenchError as error:
        raise BenchError(
            f"The board {selection.boards[0].page} that was run can no longer be planned: "
            f"{error.message}",
            f"{error.hint} If you no longer want it, remove its record in boards/.".strip(),
        ) from error
