"""What a run calls when the result of a trial is written.

Each tracker has one process at a time, which reports the results written since the last one started
and ends. A tracker that is not installed, cannot be reached or does not answer in time is dropped
with one warning; the run neither waits for it nor changes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.config.cards import BoardRow
from bench.config.request import TRACKERS
from bench.errors import BenchError, unknown
from bench.plan.trials import Board, Trial

TIME_LIMIT = 60.0
"""Seconds for starting the library, and for each result."""

SECONDS_BETWEEN_STARTS = 30.0
"""A process imports the tracker's library, which takes seconds of a CPU that the run needs."""


def parse_targets(texts: Sequence[str], *, offline: bool = False) -> dict[str, dict[str, str]]:
    """Read `TRACKER[=TARGET]` options; return the environment variables of each tracker's library.

    A target is a folder, a URL or a project.

    Raises:
        BenchError: A tracker is unknown or named twice, has nothing after the `=`, or needs the
            network, which `offline` forbids.
    """
    environments: dict[str, dict[str, str]] = {}
    for text in texts:
        tracker, equals, target = text.partition("=")
        if tracker not in TRACKERS:
            raise unknown("tracker", tracker, TRACKERS)
        if equals and not target:
            raise BenchError(f"{text!r} has no target.", f"Omit the = or write {text}TARGET.")
        if tracker in environments:
            raise BenchError(f"{tracker} is named twice.", "Name one target for each tracker.")
        module = importlib.import_module(f"{__package__}.{tracker}")
        environments[tracker] = module.make_environment(target or None, offline=offline)
    return environments


def collect_tags(
    planned: Iterable[tuple[Board, Sequence[tuple[BoardRow, Trial]]]],
) -> dict[str, dict[str, str]]:
    """Return what results do not hold, by trial: its boards and their budgets."""
    values: dict[str, dict[str, set[str]]] = {}
    for board, cells in planned:
        for _, trial in cells:
            tags = values.setdefault(trial.id, {"board": set(), "budget": set()})
            tags["board"].add(board.name)
            tags["budget"].add(board.card.budget)
    return {
        trial: {name: ", ".join(sorted(words)) for name, words in tags.items()}
        for trial, tags in values.items()
    }


def print_warning(text: str) -> None:
    """Print a warning to standard error."""
    print(f"Warning: {text}", file=sys.stderr, flush=True)


class Trackers:
    """The trackers of a run, used in a `with` block, whose end waits until all is reported.

    Environments are those of `parse_targets`, tags those of `collect_tags`. `warn` is called once
    for each tracker that is dropped; the time limit is in seconds, for starting a tracker and for
    each result.
    """

    def __init__(
        self,
        environments: Mapping[str, Mapping[str, str]],
        results: Path,
        tags: Mapping[str, Mapping[str, str]],
        *,
        warn: Callable[[str], None] = print_warning,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._tags = tags
        self._reporters = [
            _Reporter(tracker, variables, results, warn, time_limit)
            for tracker, variables in environments.items()
        ]

    def report(self, trial: str) -> None:
        """Have the result of a trial reported; returns at once."""
        for reporter in self._reporters:
            reporter.report(trial, self._tags.get(trial, {}))

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for reporter in self._reporters:
            if kind is None:
                reporter.finish()
            reporter.stop()  # nobody waits after an error or Ctrl-C; the next run reports the rest


@dataclass
class _Reporter:
    """Starts and ends the processes of one tracker."""

    tracker: str
    environment: Mapping[str, str]
    results: Path
    warn: Callable[[str], None]
    time_limit: float
    pending: dict[str, Mapping[str, str]] = field(default_factory=dict)  # trial -> tags
    process: subprocess.Popen[bytes] | None = None
    answer: IO[bytes] | None = None
    next_start: float = 0.0
    timeout: float = 0.0
    dropped: bool = False

    def report(self, trial: str, tags: Mapping[str, str]) -> None:
        if not self.dropped:
            self.pending[trial] = tags
            self._advance()

    def finish(self) -> None:
        """Wait until all is reported, or the tracker is dropped."""
        while self.process is not None or self.pending:
            self._advance(wait=True)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _advance(self, *, wait: bool = False) -> None:
        """Read the answer of a process that has ended, and start the next one."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.timeout if wait else 0)
            if self.process.returncode is None and not wait:
                return
            self._read_answer()
        if self.pending and (wait or time.monotonic() > self.next_start):
            self._start()

    def _start(self) -> None:
        request = {
            "tracker": self.tracker,
            "results": str(self.results),
            "tags": self.pending,
            "time_limit": self.time_limit,
        }
        # The process ends itself when its time is over; this is a second guard.
        self.timeout = self.time_limit * (2 + len(self.pending))
        self.next_start = time.monotonic() + SECONDS_BETWEEN_STARTS
        self.pending = {}
        path = os.pathsep.join(filter(None, sys.path))
        self.answer = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(request).encode())
            file.seek(0)
            self.process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", f"{__package__}.worker"],
                stdin=file,
                stdout=self.answer,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self.environment, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the run
            )

    def _read_answer(self) -> None:
        assert self.process is not None
        assert self.answer is not None
        status = self.process.returncode
        self.stop()
        with self.answer:
            self.answer.seek(0)
            problem = self.answer.read().decode()
        if status is None or status == -signal.SIGALRM:
            problem = f"No answer within {self.time_limit:g} s."
        elif status != 0:
            problem = "Its process ended without an answer."
        if problem:
            self.dropped, self.pending = True, {}
            later = f"`bench export {self.tracker}` can do so later"
            reason = problem.rstrip(".")
            self.warn(f"{self.tracker}: {reason}. Nothing more is reported to it; {later}.")
