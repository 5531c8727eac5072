"""Two ways to work off a search: in this process, or by Ray Tune.

Tune runs the trials, gives them their share of the machine and tries a dead worker's again. What is
tried next, and what is stopped, is the book's to say (`bench.tuning.asha`), and it says the same
whatever the order in which trials end. Tune's own state is thrown away: the store has all that a
search needs to go on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.tuning.search_state import Book
from bench.tuning.work import Say, carry_out


def run_inline(book: Book, *, say: Say, time_limit: float | None = None) -> None:
    """Make all looks in this process, one after another."""
    while ready := book.ready():
        book.take(ready[0], carry_out(book.order(ready[0]), time_limit))
        say(ready[0])


def run_with_tune(
    book: Book,
    *,
    say: Say,
    folder: Path,
    time_limit: float | None = None,
    address: str | None = None,
    num_cpus: int | None = None,
) -> None:
    """Make all looks as trials of Ray Tune, as many at a time as the machine holds.

    Args:
        book: The search's.
        say: Called after each look.
        folder: Where Tune may keep its state while it runs.
        time_limit: Seconds for one look.
        address: A running cluster's; None starts Ray here.
        num_cpus: CPUs that Ray may use here; None for all of them.
    """
    if not book.ready():
        return
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is the command's
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its newer display cannot be silenced
    from bench.runner.ray_executor import RayExecutor
    from bench.tuning.ray_tune import fit

    joined = RayExecutor(address=address, num_cpus=num_cpus)  # starts Ray as every run does
    state = folder / ".tune"
    try:
        shutil.rmtree(state, ignore_errors=True)
        stages = book.graph.stages.values()
        fit(
            book,
            say=say,
            folder=state,
            time_limit=time_limit,
            threads=max(stage.threads for stage in stages),
            gpus=max(stage.gpus for stage in stages),
        )
    finally:
        joined.close()
        shutil.rmtree(state, ignore_errors=True)
