"""Run directory in the shared store, and the permanent event logs of trials.

    <store>/.runs/<run>/run.json         who runs what; a node that cannot read it sees another disk
    <store>/.runs/<run>/lock             held by the driver, so that a killed run is recognized
    <store>/.runs/<run>/<unit>.jsonl     events of a unit's worker; touched as its heartbeat
    <store>/.runs/<run>/<unit>.progress  how far its stage is, written with the heartbeat
    <store>/.runs/<run>/cancel/<number>  id of a trial to cancel; empty cancels the whole run
    <results>/logs/<trial>.jsonl         events of a trial's stages over all its runs

Events of a stage: `reused` (was in the store), `started`, `ended` (with seconds), `waiting`
(another run is computing it). Events of a unit: `failed`, `cancelled`, `interrupted`. Each has
time, host, process and attempt. A shared stage is in the log of each of its trials.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock, Timeout

from bench.config.request import RESULTS, STORE
from bench.errors import BenchError, unknown
from bench.files import write_atomic
from bench.models.progress import describe_progress
from bench.runner.store import BUILDING, Store

RUNS = ".runs"
LOGS = "logs"
PROGRESS = ".progress"
HEARTBEAT_SECONDS = 5.0
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
ALL_TRIALS = ""
"""Content of a request that cancels the whole run."""

Event: TypeAlias = dict[str, Any]
LogEvent: TypeAlias = Callable[..., None]


def make_event(name: str, **fields: Any) -> Event:
    """Return one log line: event, time, host, process and further fields."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": name,
        "host": platform.node(),
        "pid": os.getpid(),
        **fields,
    }


@dataclass(frozen=True, kw_only=True)
class ActiveRun:
    """A run whose driver is alive."""

    folder: Path
    host: str
    pid: int
    trials: tuple[str, ...]

    def request_cancel(self, trial: str = ALL_TRIALS) -> None:
        """Write a cancel request, which the driver reads at its next poll."""
        write_atomic(self.folder / "cancel" / secrets.token_hex(4), trial.encode())


def list_running(folder: Path) -> list[Event]:
    """Describe the units of a run: stage, its progress, seconds since start and last heartbeat."""
    units = []
    for path in sorted(folder.glob("*.jsonl")):
        events = read_events(path)
        try:
            silence = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # the unit ended since the folder was listed
            continue
        if events:
            first, start = events[0], datetime.fromisoformat(events[0]["time"])
            stages = [event["stage"] for event in events if "stage" in event]
            units.append(
                {
                    **{key: first[key] for key in ("unit", "description", "attempt")},
                    "stage": stages[-1] if stages else "",
                    "progress": read_progress(path),
                    **{key: first[key] for key in ("host", "pid")},
                    "seconds": round((datetime.now(UTC) - start).total_seconds(), 1),
                    "seconds_since_heartbeat": round(max(0.0, silence), 1),
                }
            )
    return units


def require_locks(folder: Path) -> None:
    """Require locks that end with their process; filelock would silently use files that remain.

    Raises:
        BenchError: The file system of the folder has no `flock`.
    """
    path = folder / f".lock-{secrets.token_hex(4)}"
    try:
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise BenchError(
            f"The file system of {folder} has no locks (flock), so that two runs could not share "
            "it and a dead one would hold its stages for ever.",
            "Name a folder on another disk with --store, or mount this one with locks (Lustre: "
            "flock; NFS: without nolock).",
        ) from error
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def open_run_directory(store: Path, results: Path, trials: Sequence[str]) -> Iterator[Path]:
    """Announce a run and yield its folder, which is removed when the run ends."""
    folder = store / RUNS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    require_locks(folder)
    with FileLock(folder / "lock"):
        content = make_event("started", results=str(results.absolute()), trials=list(trials))
        write_atomic(folder / "run.json", json.dumps(content).encode())
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find_active_runs(store: Path, results: Path) -> list[ActiveRun]:
    """Return the runs in progress that write to a results folder."""
    runs = []
    for path in sorted((store / RUNS).glob("*/run.json")):
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        if content["results"] == str(results.absolute()) and not _is_stale(path.parent):
            host, pid, trials = content["host"], content["pid"], tuple(content["trials"])
            runs.append(ActiveRun(folder=path.parent, host=host, pid=pid, trials=trials))
    return runs


def cancel(
    trial: str | None = None, *, store: Path | str = STORE, results: Path | str = RESULTS
) -> list[str]:
    """Request that active runs stop, or leave out one trial.

    Stages that other trials need are not stopped. A run reacts within about a second, with the
    inline executor when the current unit of work ends. Returns one description per run.

    Raises:
        BenchError: If no such run is active, or the trial is not in it.
    """
    runs = find_active_runs(Path(store), Path(results))
    if not runs:
        raise BenchError(
            f"No active run writes to {results} and keeps its artifacts in {store}.",
            "Name its folders with --results and --store.",
        )
    unfinished = {name for active in runs for name in active.trials}
    if trial is not None and trial not in unfinished:
        raise unknown("unfinished trial", trial, unfinished)
    runs = [active for active in runs if trial is None or trial in active.trials]
    for active in runs:
        active.request_cancel(ALL_TRIALS if trial is None else trial)
    return [f"process {active.pid} on {active.host}" for active in runs]


def remove_stale(store: Store) -> None:
    """Remove the leftovers of killed drivers and workers; folders in use are locked."""
    for folder in (store.root / RUNS).glob("*"):
        if (folder / "run.json").is_file() and _is_stale(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (store.root / BUILDING).glob("*-*-*"):
        kind, key, _ = folder.name.rsplit("-", 2)
        try:
            with store.lock(kind, key).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue


def _is_stale(folder: Path) -> bool:
    try:
        with FileLock(folder / "lock").acquire(timeout=0):
            return True
    except Timeout:
        return False
    except FileNotFoundError:  # the run ended meanwhile
        return True


def is_visible(folder: Path) -> bool:
    """Return whether this node sees the run's store, not another disk under the same path."""
    return (folder / "run.json").is_file()


def read_cancel_requests(folder: Path) -> set[str]:
    """Return the ids of trials to cancel; `ALL_TRIALS` among them stands for the whole run."""
    paths = (folder / "cancel").glob("[!.]*")
    return {path.read_text(encoding="utf-8") for path in paths}


def get_events_path(folder: Path, unit: str) -> Path:
    """Return the file to which a unit's worker writes its events."""
    return folder / f"{unit}.jsonl"


def read_events(path: Path) -> list[Event]:
    """Read events; an incomplete last line, left by a killed worker, is dropped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_progress(events: Path) -> str:
    """Return what the stage of a unit reported last; "" for nothing."""
    with contextlib.suppress(FileNotFoundError):
        return events.with_suffix(PROGRESS).read_text(encoding="utf-8")
    return ""


@contextmanager
def send_heartbeats(folder: Path | None, unit: str, **fields: Any) -> Iterator[LogEvent]:
    """Yield a function that logs an event of a unit; its file is touched every few seconds.

    Without a run directory there is neither log nor heartbeat.
    """
    if folder is None:
        yield lambda name, **fields: None
        return
    path = get_events_path(folder, unit)

    def log_event(name: str, **fields: Any) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(make_event(name, **fields)) + "\n")

    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(path)
                path.with_suffix(PROGRESS).write_text(describe_progress(), encoding="utf-8")
            except FileNotFoundError:  # the driver has ended, or has given up this attempt
                return

    path.unlink(missing_ok=True)  # of an earlier attempt
    log_event("assigned", unit=unit, **fields)
    threading.Thread(target=touch, daemon=True).start()
    try:
        yield log_event
    finally:
        ended.set()


def get_log_path(results: Path, trial: str) -> Path:
    """Return the path of a trial's log."""
    return results / LOGS / f"{trial}.jsonl"


def write_events(results: Path, trials: Iterable[str], events: Sequence[Event]) -> None:
    """Append events to the logs of some trials."""
    text = "".join(json.dumps(event) + "\n" for event in events)
    for trial in trials if text else ():
        path = get_log_path(results, trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
