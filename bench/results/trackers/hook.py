"""What a run calls when a trial's result is written; each tracker works in a process of its own.

A tracker that is not installed, cannot be reached or does not answer in time is left out from then
on, with one warning: the run neither waits for it nor changes.
"""

from __future__ import annotations

import multiprocessing
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from bench.config.cards import BoardRow
from bench.errors import BenchError, unknown
from bench.plan.trials import Board, Trial
from bench.results.trackers.worker import Told, Where, serve

TRACKERS = ("mlflow", "tensorboard", "wandb")
TIME_LIMIT = 60.0
"""Seconds for one answer; the first one includes starting the process and the library."""


def parse_targets(texts: Sequence[str], *, offline: bool = False) -> list[Where]:
    """Read `TRACKER[=TARGET]` options.

    Raises:
        BenchError: If there is no such tracker, or nothing after the `=`.
    """
    found = []
    for text in dict.fromkeys(texts):
        tracker, equals, target = text.partition("=")
        if tracker not in TRACKERS:
            raise unknown("tracker", tracker, TRACKERS)
        if equals and not target:
            raise BenchError(f"{text!r} names no place.", f"Leave out the = or write {text}PLACE.")
        found.append(Where(tracker=tracker, target=target or None, offline=offline))
    return found


def tags_of(
    planned: Iterable[tuple[Board, Sequence[tuple[BoardRow, Trial]]]],
) -> dict[str, dict[str, str]]:
    """Return what results do not know, by trial: its boards and their budget."""
    found: dict[str, dict[str, set[str]]] = {}
    for board, cells in planned:
        for _, trial in cells:
            tags = found.setdefault(trial.id, {"board": set(), "budget": set()})
            tags["board"].add(board.name)
            tags["budget"].add(board.card.budget)
    return {
        trial: {name: ", ".join(sorted(words)) for name, words in tags.items()}
        for trial, tags in found.items()
    }


def print_warning(text: str) -> None:
    """Say on standard error what a run goes on without."""
    print(f"Warning: {text}", file=sys.stderr, flush=True)


class Connections:
    """The trackers of a run, used in a `with` block: its end waits until all was logged.

    Args:
        places: The trackers; without any, nothing ever happens.
        results: Folder of the results.
        tags: What results do not know, by trial, as `tags_of` returns it.
        warn: Called once for each tracker that is given up.
        time_limit: Seconds for one answer.
    """

    def __init__(
        self,
        places: Sequence[Where],
        results: Path,
        tags: Mapping[str, Mapping[str, str]],
        *,
        warn: Callable[[str], None] = print_warning,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._results = results
        self._tags = tags
        self._lines = [_Line(where, warn, time_limit) for where in places]

    def tell(self, trial: str) -> None:
        """Have a trial's result logged, once it is written; returns at once."""
        told = Told(results=self._results, trial=trial, tags=self._tags.get(trial, {}))
        for line in self._lines:
            line.jobs.put(told)

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for line in self._lines:
            line.jobs.put(None)
        if kind is None:  # after an error or Ctrl-C nobody waits; the next run logs the rest
            for line in self._lines:
                line.join()


class _Line(threading.Thread):
    """The line to one tracker: what waits to be logged, and the process that does it."""

    def __init__(self, where: Where, warn: Callable[[str], None], time_limit: float) -> None:
        super().__init__(daemon=True, name=f"to {where.tracker}")
        self.jobs: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._where = where
        self._warn = warn
        self._time_limit = time_limit
        self.start()

    def run(self) -> None:
        """Start the process when there is something to log, and end it when all is."""
        told = self.jobs.get()
        if told is None:
            return
        context = multiprocessing.get_context("spawn")  # a fork would copy the run's threads' locks
        pipe, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._where), daemon=True)
        process.start()
        theirs.close()
        problem = ""
        while told is not None and not problem:
            problem = self._answer(pipe, told)
            told = self.jobs.get() if not problem else None
        pipe.close()
        if problem:
            name = self._where.tracker
            self._warn(
                f"{name}: {problem} Nothing more is logged there; `bench export {name}` can later."
            )
        else:
            process.join(self._time_limit)
        process.kill()
        process.join()

    def _answer(self, pipe: Connection, told: Told) -> str:
        try:
            pipe.send(told)
            if pipe.poll(self._time_limit):
                return str(pipe.recv())
        except (EOFError, OSError):
            return "Its process ended without a word."
        return f"No answer within {self._time_limit:g} s."
