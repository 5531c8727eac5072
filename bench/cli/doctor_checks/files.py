"""Disks, the store's file system, plug-ins, cached and own files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from bench.cli.doctor_checks.finding import Finding, State
from bench.config import plugins
from bench.config.cards import RawFile
from bench.data.assets import cache_folder, cached_place, local_file
from bench.data.encoders import encoder_card, encoder_names
from bench.errors import BenchError
from bench.hashing import checksum

FULL_GIB = 1.0
SCARCE_GIB = 10.0
NAMED = 6


def disks(folders: Mapping[str, Path]) -> list[Finding]:
    """Look how much room there is for the folders and for the cache."""
    found = []
    for name, folder in {**folders, "cache": cache_folder()}.items():
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        said = f"{free:.1f} GiB free for {folder}"
        if free < SCARCE_GIB:
            hint = f"Make room, or move it ({'$BENCH_CACHE' if name == 'cache' else f'--{name}'})."
            state: State = "fail" if free < FULL_GIB else "warn"
            found.append(Finding(name=f"disk, {name}", state=state, said=said, hint=hint))
        else:
            found.append(Finding(name=f"disk, {name}", said=said))
    return found


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def keeps_files(store: Path) -> Finding:
    """Try where the store lies what it lives on: a flushed write, a renamed folder, a lock."""
    hint = "Name a folder of another disk with --store; several machines need a shared one."
    if store.exists() and not store.is_dir():
        return Finding(name="store", state="fail", said=f"{store} is not a folder", hint=hint)
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=_existing(store)) as scratch:
            wrong = _tried(Path(scratch))
    except OSError as error:
        said = f"{store}: {error.strerror or error}"
        return Finding(name="store", state="fail", said=said, hint=hint)
    if wrong:
        return Finding(name="store", state="fail", said=f"{store}: {wrong}", hint=hint)
    return Finding(name="store", said=f"{store} is written, renamed and locked as it must be")


def _tried(scratch: Path) -> str:
    """Return what does not work in a folder."""
    building, sealed = scratch / "building", scratch / "sealed"
    building.mkdir()
    with (building / "file").open("wb") as file:
        file.write(b"whole")
        file.flush()
        os.fsync(file.fileno())
    building.rename(sealed)
    if (sealed / "file").read_bytes() != b"whole" or building.exists():
        return "a renamed folder is not what was written"
    try:
        with FileLock(scratch / "lock"), FileLock(scratch / "lock").acquire(timeout=0):
            return "locks lock nobody out"
    except Timeout:
        return ""
    except NotImplementedError:
        return "its file system has no locks"


def plug_ins() -> list[Finding]:
    """Name the methods and cards that are broken."""
    try:
        lines = plugins.list_methods()
        for room in ("datasets", "models", "leaderboards", "suites", "budgets", "encoders"):
            lines += plugins.list_cards(room)
    except BenchError as error:
        return [Finding(name="plug-ins", state="fail", said=error.message, hint=error.hint)]
    broken = [f"{line.name}: {line.error}" for line in lines if line.error]
    if not broken:
        return [Finding(name="plug-ins", said=f"{len(lines)} methods and cards can be read")]
    hint = "Mend it, or take it out of $BENCH_PATH."
    return [Finding(name="plug-ins", state="warn", said=said, hint=hint) for said in broken]


def cached_files() -> Finding:
    """Compare the cached files of data sets and encoders with their cards' checksums."""
    kept = {cached_place(file): file.sha256 for file in _files() if file.sha256}
    there = {path: sha256 for path, sha256 in kept.items() if path.is_file()}
    damaged = [str(path) for path, sha256 in there.items() if checksum(path) != sha256]
    if damaged:
        hint = "Delete them; they are fetched anew."
        said = f"not as their cards say: {', '.join(damaged)}"
        return Finding(name="cached files", state="fail", said=said, hint=hint)
    said = f"{len(there)} of {len(kept)} with a checksum are cached, all as their cards say"
    return Finding(name="cached files", said=said)


def _files() -> list[RawFile]:
    found: list[RawFile] = []
    for line in plugins.list_cards("datasets"):
        if not line.error:
            found += plugins.dataset_card(line.name).files.values()
    for name in encoder_names():
        found += encoder_card(name).files.values()
    return found


def data_at_hand(data_dir: Path | None) -> Finding:
    """Name the data sets all of whose files are in the user's folder or in the cache."""
    names = [line.name for line in plugins.list_cards("datasets") if not line.error]
    try:
        here = [
            name
            for name in names
            if all(local_file(file, data_dir) for file in plugins.dataset_card(name).files.values())
        ]
    except BenchError as error:
        return Finding(name="data sets", state="warn", said=error.message, hint=error.hint)
    shown = ", ".join(here[:NAMED]) + (", …" if len(here) > NAMED else "")
    return Finding(name="data sets", said=f"{len(here)} of {len(names)} at hand: {shown}")
