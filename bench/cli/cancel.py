"""`bench cancel`: stop active runs, or one of their trials."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.cli import options as o


def cancel(
    trial: str | None = o.argument(
        "[TRIAL]", "Id, as in bench status --json (default: all).", None
    ),
    store: Path = o.STORE,
    results: Path = o.RESULTS,
) -> None:
    """Stop the run that writes to a results folder, or only one of its trials.

    Finished work is recorded, and stages that other trials need continue. This takes about a
    second; with --executor inline, until the current unit of work has ended.
    """
    request = "to stop" if trial is None else f"to leave out {trial}"
    for run in bench.cancel(trial, store=store, results=results):
        print(f"Asked the run of {run} {request}.")
