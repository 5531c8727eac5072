"""Checks of disks, the store's file system, plug-ins, cached files and local data sets."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from bench.cli.doctor_checks import Finding, join_names
from bench.config import plugins
from bench.config.cards import DatasetCard
from bench.data.assets import cache_folder, cached_path, local_file
from bench.errors import BenchError
from bench.hashing import checksum

FAIL_GIB = 1.0
WARN_GIB = 10.0


def check_disks(folders: Mapping[str, Path]) -> list[Finding]:
    """Check the free space for some folders, by option name, and for the asset cache."""
    findings = []
    for name, folder in {**folders, "cache": cache_folder()}.items():
        free = shutil.disk_usage(_find_existing(folder)).free / 2**30
        hint = f"Free some, or move it ({'$BENCH_CACHE' if name == 'cache' else f'--{name}'})."
        findings.append(
            Finding(
                name=f"disk, {name}",
                state="fail" if free < FAIL_GIB else "warn" if free < WARN_GIB else "ok",
                message=f"{free:.1f} GiB free for {folder}",
                hint=hint if free < WARN_GIB else "",
            )
        )
    return findings


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def check_store(store: Path) -> Finding:
    """Try on the store's file system what it relies on: flush, rename, locks."""
    try:
        if store.exists() and not store.is_dir():
            raise OSError("not a folder")
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=_find_existing(store)) as folder:
            _try_file_system(Path(folder))
    except (OSError, NotImplementedError) as error:
        message = f"{store}: {getattr(error, 'strerror', None) or error}"
        hint = "Name a folder on another disk with --store; several machines need a shared one."
        return Finding(name="store", state="fail", message=message, hint=hint)
    return Finding(name="store", message=f"{store}: writing, renaming and locking work")


def _try_file_system(folder: Path) -> None:
    """Raise an error if something does not work in a folder."""
    building, committed = folder / "building", folder / "committed"
    building.mkdir()
    with (building / "file").open("wb") as file:
        file.write(b"content")
        file.flush()
        os.fsync(file.fileno())
    building.rename(committed)
    if (committed / "file").read_bytes() != b"content" or building.exists():
        raise OSError("a renamed folder differs from what was written")
    lock = folder / "lock"
    with contextlib.suppress(Timeout), FileLock(lock), FileLock(lock).acquire(timeout=0):
        raise OSError("a lock can be acquired twice")


def check_plugins() -> list[Finding]:
    """List methods and cards that cannot be loaded."""
    try:
        lines = plugins.list_methods()
        for room in ("datasets", "models", "leaderboards", "suites", "budgets", "encoders"):
            lines += plugins.list_cards(room)
    except BenchError as error:
        return [Finding(name="plug-ins", state="fail", message=error.message, hint=error.hint)]
    hint = "Fix it, or remove its folder from $BENCH_PATH."
    broken = [
        Finding(name="plug-ins", state="warn", message=f"{line.name}: {line.error}", hint=hint)
        for line in lines
        if line.error
    ]
    return broken or [Finding(name="plug-ins", message=f"{len(lines)} methods and cards load")]


def check_cached_files() -> Finding:
    """Compare the cached files of data sets and encoders with the checksums of their cards."""
    encoders = map(plugins.encoder_card, plugins.card_paths("encoders"))
    files = [file for card in _load_dataset_cards().values() for file in card.files.values()]
    files += [file for card in encoders for file in card.files.values()]
    checksums = {cached_path(file): file.sha256 for file in files if file.sha256}
    cached = [path for path in checksums if path.is_file()]
    damaged = [str(path) for path in cached if checksum(path) != checksums[path]]
    if damaged:
        return Finding(
            name="cached files",
            state="fail",
            message=f"checksums differ from the cards: {', '.join(damaged)}",
            hint="Delete them; they will be fetched again.",
        )
    message = f"{len(cached)} of {len(checksums)} are cached, with the checksums of their cards"
    return Finding(name="cached files", message=message)


def _load_dataset_cards() -> dict[str, DatasetCard]:
    names = [line.name for line in plugins.list_cards("datasets") if not line.error]
    return {name: plugins.dataset_card(name) for name in names}


def check_datasets(data_dir: Path | None) -> Finding:
    """List the data sets whose files are all in the user's folder or in the cache."""
    cards = _load_dataset_cards()
    try:
        available = [
            name
            for name, card in cards.items()
            if all(local_file(file, data_dir) for file in card.files.values())
        ]
    except BenchError as error:
        return Finding(name="data sets", state="warn", message=error.message, hint=error.hint)
    message = f"{len(available)} of {len(cards)} available locally: {join_names(available)}"
    return Finding(name="data sets", message=message)
