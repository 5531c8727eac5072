"""Requests to active runs to stop, or to leave out a trial."""

from __future__ import annotations

from pathlib import Path

from bench.config.request import RESULTS, STORE
from bench.errors import BenchError, unknown
from bench.runner.run_directory import ALL_TRIALS, find_active_runs


def cancel(
    trial: str | None = None, *, store: Path | str = STORE, results: Path | str = RESULTS
) -> list[str]:
    """Request that active runs stop, or leave out one trial.

    Stages that other trials need are not stopped. A run reacts within about a second, with the
    inline executor when the current unit of work ends.

    Args:
        trial: Id of the trial; None for all.
        store: Folder of the artifacts.
        results: Folder of the results that the runs write to.

    Returns:
        One description per run that was asked.

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
