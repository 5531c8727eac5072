"""`bench cancel`: ask a run that goes on to stop, or to leave out a trial."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError, unknown


def cancel(
    trial: Annotated[
        str | None,
        typer.Argument(metavar="[TRIAL]", help="As bench status names it; all without one."),
    ] = None,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
) -> None:
    """Stop the run that writes to a results folder, or only one of its trials.

    What has ended is recorded. Of a trial, only what no other trial needs is stopped. It takes
    about a second; with --executor inline, until the unit in work has ended.
    """
    from bench.runner.run_directory import ALL_TRIALS, find_active_runs

    runs = find_active_runs(store, results)
    if not runs:
        raise BenchError(
            f"No run goes on that writes to {results} and keeps its artifacts in {store}.",
            "Name its folders with --results and --store.",
        )
    if trial is not None:
        known = {name for run in runs for name in run.trials}
        if trial not in known:
            raise unknown("unfinished trial", trial, known)
    for run in runs:
        if trial is None or trial in run.trials:
            run.request_cancel(ALL_TRIALS if trial is None else trial)
            what = "to stop" if trial is None else f"to leave out {trial}"
            print(f"Asked the run of process {run.pid} on {run.host} {what}.")
