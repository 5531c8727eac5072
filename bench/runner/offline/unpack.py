"""Puts a pack's files where runs look for them, after every checksum was tested."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from bench.hashing import checksum
from bench.runner.offline.manifest import Manifest, Packed
from bench.runner.store import META, Store

CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the rooms of a pack go.

    Attributes:
        assets: The asset cache.
        hub: The hub's own cache.
        store: The store of artifacts.
    """

    assets: Path
    hub: Path
    store: Store

    def of(self, file: Packed) -> Path:
        """Return where a file of the first two goes."""
        return (self.hub if file.room == "hub" else self.assets) / file.place


def verify(folder: Path, manifest: Manifest) -> None:
    """Test every part of every file, and that the parts make the file.

    Raises:
        BenchError: One is missing or not as it was packed.
    """
    for file in manifest.files:
        whole = hashlib.sha256()
        for part in file.parts:
            path = folder / part.name
            if not path.is_file():
                raise BenchError(f"The part {part.name} of {folder} is missing.", "Copy it again.")
            piece = hashlib.sha256()
            for chunk in _chunks(path):
                piece.update(chunk)
                whole.update(chunk)
            if piece.hexdigest() != part.sha256:
                raise BenchError(
                    f"The part {part.name} of {folder} is not as it was packed.", "Copy it again."
                )
        if whole.hexdigest() != file.sha256:
            raise BenchError(f"The parts of {file.place} do not make the file.", "Pack it again.")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def unpack(folder: Path, manifest: Manifest, places: Places) -> dict[str, int]:
    """Write what is not there yet; nothing where a part is missing or altered.

    Wheels stay where they are: pip takes them from the pack.

    Returns:
        How many files and artifacts were written, and how many were there.

    Raises:
        BenchError: A part is not as it was packed, or another file lies in a file's place.
    """
    verify(folder, manifest)
    files = [file for file in manifest.files if file.room in ("assets", "hub")]
    there = {file.place for file in files if _is_there(file, places.of(file))}
    artifacts = _artifacts(manifest)
    for file in files:
        if file.place not in there:
            _join(folder, file, places.of(file))
    written = 0
    for (kind, key), members in artifacts.items():
        written += _put_artifact(folder, members, kind, key, places.store)
    counts = {"files": len(files) - len(there), "artifacts": written}
    return {**counts, "there": len(there) + len(artifacts) - written}


def _is_there(file: Packed, target: Path) -> bool:
    if not target.is_file():
        return False
    if target.stat().st_size != file.size or checksum(target) != file.sha256:
        raise BenchError(
            f"{target} is another file than the pack's.",
            "Remove it, or name another folder with --into.",
        )
    return True


def _join(folder: Path, file: Packed, target: Path) -> None:
    """Put a file together; it has its name only when it is whole and on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}-{secrets.token_hex(4)}")
    try:
        with partial.open("wb") as out:
            for part in file.parts:
                out.writelines(_chunks(folder / part.name))
            out.flush()
            os.fsync(out.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _artifacts(manifest: Manifest) -> dict[tuple[str, str], list[Packed]]:
    found: dict[tuple[str, str], list[Packed]] = {}
    for file in manifest.of("store"):
        parts = PurePosixPath(file.place).parts
        if len(parts) < 3 or any(part.startswith(".") for part in parts[:2]):
            raise BenchError(f"The manifest has no artifact at {file.place}.", "Pack it again.")
        found.setdefault((parts[0], parts[1]), []).append(file)
    return found


def _put_artifact(folder: Path, files: list[Packed], kind: str, key: str, store: Store) -> bool:
    with store.lock(kind, key):
        if store.has(kind, key):
            return False
        with store.building(kind, key) as building:
            for file in files:
                _join(folder, file, building.joinpath(*PurePosixPath(file.place).parts[2:]))
            meta = json.loads((building / META).read_bytes())
            if (meta.pop("kind"), meta.pop("key")) != (kind, key):
                raise BenchError(f"{kind}/{key} in the pack is another artifact.", "Pack it again.")
            del meta["files"]
            (building / META).unlink()
            store.commit(kind, key, building, meta)
    return True
