"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class RunProgress:
    """Counts stages as they end, used in a `with` block.

    Args:
        total: Stages that will run.
        quiet: Print nothing.
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("stages", total=total)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add_stages(self, num: int, description: str) -> None:
        """Count stages that succeeded."""
        self._done += num
        self._bar.update(self._task, completed=self._done, description=description)
        if self._bar.disable:
            seconds = time.monotonic() - self._started
            self.print_line(f"[{self._done}/{self._total}] {seconds:6.1f} s  {description}")

    def print_line(self, text: str) -> None:
        """Print a line of its own, e.g. about a retry or a failure."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
