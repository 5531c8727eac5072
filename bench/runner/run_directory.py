"""What a run shows while it goes on, and what it is asked, in the store that all its nodes see.

<store>/.runs/<run>/run.json         who runs what; a node that cannot read it sees another disk
<store>/.runs/<run>/lock             held by the driver, so that a dead run is known for one
<store>/.runs/<run>/<unit>.jsonl     what a worker did, a line an event; touched while it lives
<store>/.runs/<run>/cancel/<number>  a trial that somebody asked to stop; empty means all
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock, Timeout

from bench.files import write_whole
from bench.runner.store import BUILDING, Store

RUNS = ".runs"
SECONDS_BETWEEN_SIGNS = 5.0
EVERYTHING = ""
"""A request to cancel that names no trial: the whole run."""

Event: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[..., None]


def event(name: str, **more: Any) -> Event:
    """Return a line of a log: when, what, where."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": name,
        "host": platform.node(),
        "pid": os.getpid(),
        **more,
    }


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run that goes on."""

    folder: Path
    host: str
    pid: int
    results: Path
    trials: tuple[str, ...]

    def ask_to_cancel(self, trial: str = EVERYTHING) -> None:
        """Leave a request; the driver finds it when it looks next."""
        write_whole(self.folder / "cancel" / secrets.token_hex(4), trial.encode())

    def units(self) -> list[Event]:
        """Describe what runs: unit, stage, seconds since its start and since the last sign."""
        found = []
        for path in sorted(self.folder.glob("*.jsonl")):
            events = read_events(path)
            try:
                silent = time.time() - path.stat().st_mtime
            except FileNotFoundError:  # it ended between the listing and the look
                continue
            if events:
                began = datetime.fromisoformat(events[0]["time"])
                stages = [one["stage"] for one in events if "stage" in one]
                found.append(
                    {
                        "unit": events[0]["unit"],
                        "about": events[0]["about"],
                        "stage": stages[-1] if stages else "",
                        "attempt": events[0]["attempt"],
                        "host": events[0]["host"],
                        "pid": events[0]["pid"],
                        "seconds": round((datetime.now(UTC) - began).total_seconds(), 1),
                        "last_sign_seconds": round(max(0.0, silent), 1),
                    }
                )
        return found


@contextmanager
def going_on(store: Path, results: Path, trials: Sequence[str]) -> Iterator[Path]:
    """Announce a run; yield its folder, which is gone when it ends."""
    folder = store / RUNS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        about = event("started", results=str(results.absolute()), trials=list(trials))
        write_whole(folder / "run.json", json.dumps(about).encode())
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def live_runs(store: Path, results: Path) -> list[LiveRun]:
    """Return the runs that go on and write to a results folder."""
    found = []
    for path in sorted((store / RUNS).glob("*/run.json")):
        try:
            about = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        if about["results"] == str(results.absolute()) and not _is_dead(path.parent):
            found.append(
                LiveRun(
                    folder=path.parent,
                    host=about["host"],
                    pid=about["pid"],
                    results=results,
                    trials=tuple(about["trials"]),
                )
            )
    return found


def clear_dead(store: Store) -> None:
    """Remove what killed drivers and workers left; what somebody is building now is locked."""
    for folder in (store.root / RUNS).glob("*"):
        if (folder / "run.json").is_file() and _is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (store.root / BUILDING).glob("*-*-*"):
        kind, key, _ = folder.name.rsplit("-", 2)
        try:
            with store.lock(kind, key).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue


def _is_dead(folder: Path) -> bool:
    try:
        with FileLock(folder / "lock").acquire(timeout=0):
            return True
    except Timeout:
        return False
    except FileNotFoundError:  # it ended just now
        return True


def sees(folder: Path) -> bool:
    """Tell whether this node sees the run's own store, not another disk under the same path."""
    return (folder / "run.json").is_file()


def cancelled(folder: Path) -> set[str]:
    """Return the trials that somebody asked to stop."""
    paths = (folder / "cancel").glob("[!.]*")
    return {path.read_text(encoding="utf-8") for path in paths}


def events_path(folder: Path, unit: str) -> Path:
    """Return where a unit's worker writes what it does."""
    return folder / f"{unit}.jsonl"


def read_events(path: Path) -> list[Event]:
    """Read events; a line that a killed worker left half is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def signs_of_life(folder: str, unit: str, **more: Any) -> Iterator[Say]:
    """Yield what writes an event of a unit; meanwhile its file is touched every few seconds.

    Args:
        folder: The run's; empty where nobody looks.
        unit: Id of the unit.
        more: What the first event says besides.
    """
    if not folder:
        yield lambda name, **more: None
        return
    path = events_path(Path(folder), unit)

    def say(name: str, **more: Any) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event(name, **more)) + "\n")

    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(SECONDS_BETWEEN_SIGNS):
            try:
                os.utime(path)
            except FileNotFoundError:  # the driver is gone or has given this try up
                return

    path.unlink(missing_ok=True)  # of an earlier try
    say("taken", unit=unit, **more)
    threading.Thread(target=touch, daemon=True).start()
    try:
        yield say
    finally:
        ended.set()
