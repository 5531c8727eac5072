"""Copies a bundle's files to where runs find them, after every checksum was verified."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from bench.hashing import checksum
from bench.runner.loop import READS_RAW_FILES
from bench.runner.offline.manifest import BundledFile, Manifest
from bench.runner.store import META, Store, read_meta

PACKED_PATHS = {
    "assets": re.compile(r"[0-9a-f]{16}/[^/]+"),
    "hub": re.compile(r"models--[^/]+/snapshots/[0-9a-f]{40}/[^/]+\.(safetensors|json|model)"),
    # Prepared data only: an evaluation would be believed without being computed.
    "store": re.compile(rf"({'|'.join(READS_RAW_FILES)})/[0-9a-f]{{32}}/[^/.][^/]*(/[^/]+)*"),
    "wheels": re.compile(r"[^/]+\.whl"),
}
"""What `bench assets pack` writes, by section."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the sections of a bundle go: asset cache, hub cache, store of artifacts."""

    assets: Path
    hub: Path
    store: Store

    def locate(self, file: BundledFile) -> Path:
        """Return the path of a file of the first two sections."""
        return (self.hub if file.section == "hub" else self.assets) / file.path


def unpack(folder: Path, manifest: Manifest, destination: Destination) -> dict[str, int]:
    """Copy what is missing; nothing if a file of the bundle is missing or altered.

    Wheels stay in the bundle, where pip finds them.

    Returns:
        Counts of written "files" and "artifacts", and of those "present" already.

    Raises:
        BenchError: A file is not as it was packed, or another file has its path.
    """
    for file in manifest.files:
        if not (folder / file.name).is_file():
            raise BenchError(f"{file.name} is missing in {folder}.", "Copy the bundle again.")
        if not _is_same(folder / file.name, file):
            raise BenchError(f"{file.name} in {folder} was altered.", "Copy the bundle again.")
    for file in manifest.files:
        if not PACKED_PATHS[file.section].fullmatch(file.path):
            raise BenchError(
                f"{file.name} is nothing that `bench assets pack` writes.", "Nothing was unpacked."
            )
    artifacts = _group_artifacts(manifest)
    files = manifest.select("assets", "hub")
    missing = [file for file in files if not _is_present(file, destination.locate(file))]
    for file in missing:
        _copy(folder / file.name, destination.locate(file))
    written = sum(
        _commit_artifact(folder, files, kind, key, destination.store)
        for (kind, key), files in artifacts.items()
    )
    present = len(files) - len(missing) + len(artifacts) - written
    return {"files": len(missing), "artifacts": written, "present": present}


def _is_same(path: Path, file: BundledFile) -> bool:
    return path.stat().st_size == file.size and checksum(path) == file.sha256


def _is_present(file: BundledFile, target: Path) -> bool:
    if not target.is_file():
        return False
    if not _is_same(target, file):
        raise BenchError(
            f"{target} differs from the bundle's file.",
            "Remove it, or name another folder with --into.",
        )
    return True


def _copy(source: Path, target: Path) -> None:
    """Copy a file; it gets its name when it is complete and on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}-{secrets.token_hex(4)}")
    try:
        with source.open("rb") as file, partial.open("wb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _group_artifacts(manifest: Manifest) -> dict[tuple[str, str], list[BundledFile]]:
    artifacts: dict[tuple[str, str], list[BundledFile]] = {}
    for file in manifest.select("store"):
        kind, key, _ = file.path.split("/", 2)
        artifacts.setdefault((kind, key), []).append(file)
    return artifacts


def _list_payload(folder: Path) -> set[str]:
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in paths} - {META}


def _commit_artifact(
    folder: Path, files: list[BundledFile], kind: str, key: str, store: Store
) -> bool:
    """Copy an artifact into the store; return False if it is there."""
    with store.lock(kind, key):
        if store.has(kind, key):
            return False
        with store.building(kind, key) as building:
            for file in files:
                inner = PurePosixPath(file.path).parts[2:]
                _copy(folder / file.name, building.joinpath(*inner))
            meta = read_meta(building, kind, key)
            if meta is None or meta["files"].keys() != _list_payload(building):
                raise BenchError(
                    f"The bundle's {kind}/{key} is incomplete or another artifact.",
                    "Pack it again.",
                )
            for name in ("kind", "key", "files"):
                del meta[name]
            (building / META).unlink()
            store.commit(kind, key, building, meta)
    return True
