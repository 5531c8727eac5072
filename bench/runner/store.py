"""Artifacts: what a stage leaves under its key, written whole or not at all, never changed.

    <store>/<kind>/<key>/          the payload
    <store>/<kind>/<key>/meta.json arguments, versions, seconds, peak memory, checksum of each file

A folder is built under a temporary name, flushed to disk and renamed, so that what stands under a
key is complete. A folder that does not fit its own checksums is moved aside and made again. Locks
are the operating system's: they end with their owner, however it ends.
"""

from __future__ import annotations

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
from bench.hashing import Plain, checksum

META = "meta.json"
ASIDE = ".aside"
BUILDING = ".building"
LOCKS = ".locks"


class Store:
    """A folder of artifacts.

    Args:
        root: The folder; made when first written to.

    Raises:
        BenchError: Where the path is something other than a folder.
    """

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise BenchError(f"The store {root} is not a folder.", "Name another with --store.")
        self.root = root.absolute()
        self._verified: set[Path] = set()

    def folder(self, kind: str, key: str) -> Path:
        """Return where the artifact lies or would lie."""
        return self.root / kind / key

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return what is recorded of an artifact, or None where it is missing or torn."""
        folder = self.folder(kind, key)
        try:
            meta = json.loads((folder / META).read_bytes())
            sizes = {name: entry["size"] for name, entry in meta["files"].items()}
            whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
            return meta if whole and meta["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def has(self, kind: str, key: str) -> bool:
        """Tell whether a complete artifact is there; one that is not is moved aside."""
        if self.meta(kind, key) is not None:
            return True
        if self.folder(kind, key).exists():
            self._set_aside(kind, key, "is torn or foreign")
        return False

    def open(self, kind: str, key: str) -> Path:
        """Return an artifact's folder after checking every file against its checksum, once.

        Raises:
            BenchError: Where it is not there or not as it was written.
        """
        folder = self.folder(kind, key)
        meta = self.meta(kind, key)
        if folder not in self._verified:
            for name, entry in (meta or {"files": {}})["files"].items():
                if checksum(folder / name) != entry["sha256"]:
                    self._set_aside(kind, key, f"was changed after it was written ({name})")
                    meta = None
                    break
        if meta is None:
            raise BenchError(f"The artifact {kind}/{key} is missing or torn.", "Run again.")
        self._verified.add(folder)
        return folder

    @contextmanager
    def building(self, kind: str, key: str) -> Iterator[Path]:
        """Yield an empty folder to fill; it is removed unless `commit` took it."""
        folder = self.root / BUILDING / f"{kind}-{key}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, kind: str, key: str, built: Path, meta: dict[str, Plain]) -> Path:
        """Seal a filled folder with its meta.json and move it under its key."""
        files = {
            str(path.relative_to(built)): {"size": path.stat().st_size, "sha256": checksum(path)}
            for path in sorted(built.rglob("*"))
            if path.is_file()
        }
        record = {"kind": kind, "key": key, "files": files, **meta}
        (built / META).write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        for path in built.rglob("*"):
            _flush(path)
        _flush(built)
        target = self.folder(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            self._set_aside(kind, key, "stood in the way of a new one")
        built.rename(target)
        _flush(target.parent)
        return target

    def lock(self, kind: str, key: str) -> FileLock:
        """Return the lock that whoever makes this artifact holds."""
        folder = self.root / LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{kind}-{key}.lock")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the record of every complete artifact."""
        for path in sorted(self.root.glob(f"*/*/{META}")):
            meta = self.meta(path.parent.parent.name, path.parent.name)
            if meta is not None:
                yield meta

    def remove(self, kind: str, key: str) -> int:
        """Delete an artifact and return how many bytes that freed."""
        meta = self.meta(kind, key)
        folder = self.folder(kind, key)
        trash = self.root / BUILDING / f"removed-{key}-{secrets.token_hex(4)}"
        trash.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return sum(entry["size"] for entry in (meta or {"files": {}})["files"].values())

    def _set_aside(self, kind: str, key: str, why: str) -> None:
        target = self.root / ASIDE / f"{kind}-{key}-{secrets.token_hex(4)}"
        target.parent.mkdir(parents=True, exist_ok=True)
        self.folder(kind, key).rename(target)
        print(f"The artifact {kind}/{key} {why}; moved to {target}.", file=sys.stderr)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
