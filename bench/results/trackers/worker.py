"""The process that a tracker lives in.

A tracker's library is foreign code that may hang, print, catch signals or change its process, so it
is never imported where the run is. It says nothing on the terminal: what goes wrong is sent back.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.results.schema import read_result
from bench.results.trackers.entry import entry_of

LONGEST = 300
_CREDENTIALS = re.compile(r"//[^/\s]+@")


@dataclass(frozen=True, kw_only=True)
class Where:
    """A tracker and where it writes.

    Attributes:
        tracker: Name of a module of this package.
        target: Folder, address or project; the tracker's own choice if None.
        offline: Whether the network must not be touched.
    """

    tracker: str
    target: str | None
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """A result to be logged: its folder and trial, and what the result does not know."""

    results: Path
    trial: str
    tags: Mapping[str, str]


def serve(pipe: Connection, where: Where) -> None:
    """Log what comes through a pipe until it is closed; answer each with "" or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's to handle
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    tracker: Any = None
    while True:
        try:
            told: Told = pipe.recv()
        except EOFError:
            return
        try:
            tracker = tracker or _open(where)
            result = read_result(told.results / f"{told.trial}.json")
            tracker.log(entry_of(result, told.tags))
            pipe.send("")
        except Exception as error:  # a tracker's library may raise anything
            pipe.send(in_words(error))


def _open(where: Where) -> Any:
    module = importlib.import_module(f"bench.results.trackers.{where.tracker}")
    try:
        library = importlib.import_module(module.LIBRARY)
    except ImportError as error:
        raise BenchError(
            f"{module.LIBRARY} cannot be imported ({error}).",
            f"Install it: pip install 'llmrec-bench[{where.tracker}]'",
        ) from error
    return module.Tracker(library, where.target, offline=where.offline)


def in_words(error: Exception) -> str:
    """Say what went wrong in one short line without the credentials that an address may hold.

    Example:
        >>> in_words(OSError("no answer from http://me:secret@host/x"))
        'OSError: no answer from http://***@host/x'
    """
    if isinstance(error, BenchError):
        text = f"{error.message} {error.hint}".strip()
    else:
        first = (str(error).splitlines() or [""])[0]
        text = f"{type(error).__name__}: {first}".removesuffix(": ")
    text = _CREDENTIALS.sub("//***@", text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
