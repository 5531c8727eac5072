"""What a run shows while it goes on: a bar in a terminal, elsewhere at least a line per minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from bench.errors import printable
from bench.models.progress import format_seconds
from bench.runner.run_directory import list_running

LINE_SECONDS = 60.0
"""Seconds between two lines about what is running, where there is no terminal."""


class RunProgress:
    """Counts the stages that will run and shows what is running, used in a `with` block.

    What workers compute is read from the run directory, if there is one.
    """

    def __init__(self, total: int, *, folder: Path | None = None, quiet: bool = False) -> None:
        self._total, self._folder = total, folder
        self._done = 0
        self._started = time.monotonic()
        self._end: float | None = None
        self._closed = threading.Event()
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = _Bar(
            self,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=2,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("stages", total=total)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        if self._bar.disable and self._folder is not None:
            threading.Thread(target=self._print_every_minute, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._bar.stop()

    def add_stages(self, num: int, description: str) -> None:
        """Count stages that succeeded."""
        self._done += num
        self._bar.update(self._task, completed=self._done)
        if self._bar.disable:
            seconds = time.monotonic() - self._started
            self.print_line(f"[{self._done}/{self._total}] {seconds:6.1f} s  {description}")

    def set_remaining(self, seconds: float | None) -> None:
        """Set how long the rest will take from now; None if that is not known."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def print_line(self, text: str) -> None:
        """Print a line of its own, e.g. about a retry or a failure."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def describe_remaining(self) -> str:
        """Say how long the rest will take."""
        if self._end is None:
            return "remaining time not known yet"
        return f"about {format_seconds(max(1.0, self._end - time.monotonic()))} left"

    def describe_running(self) -> list[str]:
        """Return one line per running unit: its stage, how far it is, its seconds."""
        units = [] if self._folder is None else list_running(self._folder)
        return [
            f"{unit['description']}: {unit['stage'] or 'starting'}, "
            + (f"{unit['progress']}, " if unit["progress"] else "")
            + f"running for {format_seconds(unit['seconds'])}"
            for unit in units
        ]

    def _print_every_minute(self) -> None:
        while not self._closed.wait(LINE_SECONDS):
            seconds = format_seconds(time.monotonic() - self._started)
            running = "; ".join(self.describe_running()) or "nothing is running"
            self.print_line(
                f"[{self._done}/{self._total}] {seconds}, {self.describe_remaining()}. {running}"
            )


class _Bar(Progress):
    """The bar, with the remaining time and a line per running unit below it."""

    def __init__(self, run: RunProgress, *columns: ProgressColumn, **options: Any) -> None:
        self._run = run
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar and the lines, each cut at the width of the terminal."""
        yield self.make_tasks_table(self.tasks)
        for line in [self._run.describe_remaining(), *self._run.describe_running()]:
            yield Text(f"  {printable(line)}", overflow="ellipsis", no_wrap=True)
