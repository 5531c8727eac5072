"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class RunProgress:
    """Counts stages as they end.

    Args:
        total: Stages that will run.
        quiet: Print nothing.
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._quiet = quiet
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet and total:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("stages", total=total)

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add_stages(self, num: int, description: str) -> None:
        """Count stages that succeeded."""
        self._done += num
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=description)
        else:
            seconds = time.monotonic() - self._started
            self.print_line(f"[{self._done}/{self._total}] {seconds:6.1f} s  {description}")

    def print_line(self, text: str) -> None:
        """Print a line of its own, e.g. about a retry or a failure."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        elif not self._quiet:
            print(text, file=sys.stderr, flush=True)
