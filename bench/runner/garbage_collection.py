"""What of the store and of the asset cache is kept, and what may go.

An artifact is kept where a plan or a result names it, where it was used lately, and where one that
is kept was made from it. Nobody has to write down a use: an artifact's files are read when a stage
takes it as input, and the file system notes when (where it is mounted with `noatime`, the day it
was made counts). Removing is a rename first, so whatever ends this program leaves whole artifacts
only.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from bench.runner.store import ASIDE, BUILDING, META, Store

DAY = 86400.0
ASSET_FOLDER = re.compile(r"[0-9a-f]{16}")
HALF_BUILT, SET_ASIDE = "half-built", "set aside"


@dataclass(frozen=True, kw_only=True)
class Loose:
    """Something that nothing needs.

    Attributes:
        kind: Kind of the artifact, or what else it is.
        key: Its key; for other things their name.
        path: Where it lies.
        size: Bytes.
    """

    kind: str
    key: str
    path: Path
    size: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A store, looked through.

    Attributes:
        loose: What may go.
        kept: Number of artifacts that stay.
        kept_bytes: Their bytes.
    """

    loose: tuple[Loose, ...]
    kept: int
    kept_bytes: int


def survey(store: Store, needed: Collection[str], *, keep_days: float) -> Survey:
    """Look through a store; nothing is changed.

    Args:
        store: The store.
        needed: Keys that plans and results name.
        keep_days: What was used in so many days is kept, with what it was made from.
    """
    since = time.time() - keep_days * DAY
    entries = {meta["key"]: meta for meta in store.entries()}
    folders = {key: store.folder(meta["kind"], key) for key, meta in entries.items()}
    kept = {key for key in entries if key in needed or last_use(folders[key]) >= since}
    waiting = list(kept)
    while waiting:
        given = entries[waiting.pop()].get("inputs", {}).values()
        new = {key for key in given if key in entries} - kept
        kept |= new
        waiting += new
    loose = [
        Loose(kind=meta["kind"], key=key, path=folders[key], size=_bytes(meta))
        for key, meta in entries.items()
        if key not in kept
    ]
    return Survey(
        loose=(*loose, *_left_behind(store, since)),
        kept=len(kept),
        kept_bytes=sum(_bytes(entries[key]) for key in kept),
    )


def last_use(folder: Path) -> float:
    """Return when a folder was made, or a file of it last read, in seconds since 1970.

    Its `meta.json` says nothing: listings read it, too.
    """
    stats = [path.stat() for path in folder.rglob("*") if path.name != META and path.is_file()]
    times = [max(stat.st_atime, stat.st_mtime) for stat in stats]
    return max([folder.stat().st_mtime, *times])


def _bytes(meta: dict[str, Any]) -> int:
    return sum(int(file["size"]) for file in meta["files"].values())


def _left_behind(store: Store, since: float) -> Iterator[Loose]:
    """Yield what killed workers left, and what was set aside as damaged."""
    for place, kind in ((BUILDING, HALF_BUILT), (ASIDE, SET_ASIDE)):
        for folder in sorted((store.root / place).glob("*-*-*")):
            if kind == HALF_BUILT or folder.stat().st_mtime < since:
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                yield Loose(kind=kind, key=folder.name, path=folder, size=size)


def loose_assets(cache: Path, needed: Collection[str], *, keep_days: float) -> list[Loose]:
    """List files of the asset cache that no plan needs and nobody used lately.

    Only the folders are looked at that the cache itself makes, one a file. A link to a file of the
    user's own is a link of a few bytes.

    Args:
        cache: The cache.
        needed: Places in it that plans name.
        keep_days: What was used in so many days is kept.
    """
    since = time.time() - keep_days * DAY
    found = []
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        if not ASSET_FOLDER.fullmatch(folder.name) or not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            stat = path.lstat()
            place = f"{folder.name}/{path.name}"
            if place not in needed and max(stat.st_atime, stat.st_mtime) < since:
                size = sum(file.lstat().st_size for file in (path, *path.rglob("*")))
                found.append(Loose(kind="asset", key=place, path=path, size=size))
    return found


def remove(store: Store, loose: Loose) -> bool:
    """Remove one thing, unless somebody holds its lock; returns whether it is gone."""
    if loose.kind == "asset":
        _delete(loose.path)
        if not any(loose.path.parent.iterdir()):
            loose.path.parent.rmdir()
        return True
    if loose.kind == SET_ASIDE:
        _delete(loose.path)
        return True
    kind, key = loose.kind, loose.key
    if kind == HALF_BUILT:
        kind, key, _ = loose.key.rsplit("-", 2)
    try:
        with store.lock(kind, key).acquire(timeout=0):
            if loose.kind == HALF_BUILT:
                _delete(loose.path)
            elif loose.path.exists():
                store.remove(kind, key)
    except Timeout:
        return False
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
