"""The store: a content-addressed cache of stage outputs (artifacts), never changed once written.

    <store>/<kind>/<key>/          the payload
    <store>/<kind>/<key>/meta.json kind, key, arguments, versions, seconds, peak memory, checksum of
                                   each file and of meta.json itself

A folder is built under a temporary name, flushed to disk and renamed, so that an artifact is either
complete or absent. Whatever is under a key and is no artifact of that key is moved aside when the
artifact is computed, and one that does not match its checksums when it is opened; looking changes
nothing. Locks are the operating system's and end with their owner.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import BenchError
from bench.hashing import Plain, checksum, digest

META = "meta.json"
ASIDE = ".aside"
BUILDING = ".building"
LOCKS = ".locks"
CHECKSUM = "checksum"


class DamagedArtifactError(BenchError):
    """An artifact that is missing, or is not what was written; it has to be computed again."""


class Store:
    """A folder of artifacts, created when first written to.

    Raises:
        BenchError: The path is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise BenchError(f"The store {root} is not a folder.", "Name another with --store.")
        self.root = root.absolute()
        self._verified: set[Path] = set()

    def folder(self, kind: str, key: str) -> Path:
        """Return the folder of an artifact, whether or not it exists."""
        return self.root / kind / key

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the metadata of an artifact, or None if it is missing, incomplete or another's."""
        return read_meta(self.folder(kind, key), kind, key)

    def has(self, kind: str, key: str) -> bool:
        """Return whether a complete artifact exists; its files are verified by `open`."""
        return self.meta(kind, key) is not None

    def open(self, kind: str, key: str) -> Path:
        """Return an artifact's folder; its files are verified once per store object.

        Raises:
            DamagedArtifactError: It is missing, or differs from what was written; then it is moved
                aside.
        """
        folder = self.folder(kind, key)
        if folder not in self._verified:
            if self._find_change(kind, key) is not None:
                with contextlib.suppress(OSError), self.lock(kind, key):  # or it is read-only
                    if change := self._find_change(kind, key):  # nobody has replaced it meanwhile
                        self._set_aside(folder, f"{kind}-{key}", change)
                raise DamagedArtifactError(
                    f"The artifact {kind}/{key} is missing or damaged.", "Run again."
                )
            self._verified.add(folder)
        return folder

    def _find_change(self, kind: str, key: str) -> str | None:
        """Say how an artifact differs from what was written; None if it does not."""
        meta = self.meta(kind, key)
        if meta is None:
            return "is incomplete or belongs to another key"
        folder = self.folder(kind, key)
        for name, entry in meta["files"].items():
            try:
                if checksum(folder / name) != entry["sha256"]:
                    return f"was changed after it was written ({name})"
            except OSError as error:
                return f"cannot be read ({name}: {error.strerror})"
        return None

    @contextmanager
    def building(self, kind: str, key: str) -> Iterator[Path]:
        """Yield an empty folder to fill; it is removed unless `commit` has moved it."""
        folder = self._make_name(BUILDING, f"{kind}-{key}")
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def checkpoints(self, kind: str, key: str) -> Path:
        """Return the folder of what a killed worker has done so far; `commit` removes it."""
        return self.root / BUILDING / f"{kind}-{key}"

    def commit(self, kind: str, key: str, built: Path, meta: dict[str, Plain]) -> Path:
        """Write meta.json into a filled folder and move the folder to its key."""
        files = {
            str(path.relative_to(built)): {"size": path.stat().st_size, "sha256": checksum(path)}
            for path in sorted(built.rglob("*"))
            if path.is_file()
        }
        record: dict[str, Any] = {"kind": kind, "key": key, "files": files, **meta}
        record[CHECKSUM] = digest(json.loads(json.dumps(record)))  # of what will be read
        (built / META).write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        for path in (*built.rglob("*"), built):
            _flush(path)
        target = self.folder(kind, key)
        for path, name in ((target.parent, kind), (target, f"{kind}-{key}")):
            if os.path.lexists(path) and (path == target or not path.is_dir()):
                self._set_aside(path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        built.rename(target)
        _flush(target.parent)
        shutil.rmtree(self.checkpoints(kind, key), ignore_errors=True)
        return target

    def lock(self, kind: str, key: str) -> FileLock:
        """Return the lock that is held while the artifact is computed."""
        folder = self.root / LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{kind}-{key}.lock")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the metadata of every complete artifact."""
        for path in sorted(self.root.glob(f"*/*/{META}")):
            meta = self.meta(path.parent.parent.name, path.parent.name)
            if meta is not None:
                yield meta

    def remove(self, kind: str, key: str) -> int:
        """Delete an artifact; return its bytes. A kill leaves no half of it under its key."""
        meta = self.meta(kind, key)
        trash = self._make_name(BUILDING, f"removed-{key}")
        self.folder(kind, key).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return sum(entry["size"] for entry in (meta or {"files": {}})["files"].values())

    def _set_aside(self, path: Path, name: str, reason: str = "is no artifact of its key") -> None:
        """Move whatever is at a path out of the way: a folder, a file or a link."""
        target = self._make_name(ASIDE, name)
        path.rename(target)
        print(f"{path} {reason}; moved to {target}.", file=sys.stderr)

    def _make_name(self, parent: str, name: str) -> Path:
        folder = self.root / parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}-{secrets.token_hex(4)}"


def read_meta(folder: Path, kind: str, key: str) -> dict[str, Any] | None:
    """Return the metadata in a folder, or None if it is no complete artifact of this key."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_bytes())
        sizes = {name: entry["size"] for name, entry in meta["files"].items()}
        complete = all((folder / name).stat().st_size == size for name, size in sizes.items())
        # Artifacts written before meta.json had a checksum have none to compare.
        sealed = meta.pop(CHECKSUM, None) or digest(meta)
        own = (meta["kind"], meta["key"], sealed) == (kind, key, digest(meta))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return meta if complete and own else None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
