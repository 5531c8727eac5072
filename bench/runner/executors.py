"""The interface that both executors implement, and the inline one.

The contract, tested on both: `submit` takes an order whose inputs are in the store; `wait` returns
what ended, or nothing after a moment in which nothing did; failures are outcomes, not exceptions.
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from bench.runner.worker import Order, Outcome, work

PATIENCE = {"GOMP_SPINCOUNT": "1000"}
"""Threads that wait for one another sleep soon. By default they spin, which costs others their time
where processes share cores: two on two cores took 16.6 s each, and 5.7 s with this; alone 2.0 s."""


def be_patient() -> None:
    """Set what `PATIENCE` says, unless the user did; it counts only before torch is imported."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


class Executor(Protocol):
    """Where units run."""

    def has_room(self, threads: int, gpus: float = 0.0, memory_mib: float = 0.0) -> bool:
        """Tell whether an order of so many threads would start now."""

    def submit(self, given: Order) -> None:
        """Start an order."""

    def wait(self) -> list[Outcome]:
        """Wait a moment for something to end and return what ended."""

    def cancel(self, unit: str) -> None:
        """Stop one order; nothing of it is returned any more."""

    def interrupt(self) -> list[Outcome]:
        """Stop all that runs and return what had ended."""

    def close(self) -> None:
        """Release everything."""


class InlineExecutor:
    """Runs every unit in this process, one after another: for debugging and tests.

    Args:
        time_limit: Seconds that a unit may take; None for no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._time_limit = time_limit
        self._waiting: deque[Order] = deque()

    def has_room(self, threads: int, gpus: float = 0.0, memory_mib: float = 0.0) -> bool:
        """Take one order at a time."""
        del threads, gpus, memory_mib
        return not self._waiting

    def submit(self, given: Order) -> None:
        """Keep the order for `wait`; it has any GPU to itself."""
        self._waiting.append(dataclasses.replace(given, gpus=float(math.ceil(given.gpus))))

    def wait(self) -> list[Outcome]:
        """Run the order that was submitted."""
        given = self._waiting.popleft()
        with _alarm(self._time_limit):
            return [work(given)]

    def cancel(self, unit: str) -> None:
        """Forget an order that has not started: what runs here cannot be stopped from here."""
        self._waiting = deque(given for given in self._waiting if given.unit != unit)

    def interrupt(self) -> list[Outcome]:
        """Forget what has not started; the interrupt itself ended what ran."""
        self._waiting.clear()
        return []

    def close(self) -> None:
        """Nothing to release."""


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimeoutError(f"It ran longer than the limit of {seconds:g} s.")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
