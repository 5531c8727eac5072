"""`bench retry`: the last run again, without its options."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError


def retry(
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what is recorded as failed or skipped.")
    ] = False,
    results: o.ResultsFolder = o.RESULTS,
    as_json: o.AsJson = False,
) -> None:
    """Go on with the last run into a results folder: the same selection, in the same way.

    $BENCH_PATH is not kept: set it as it was. Exit code: as of bench run.
    """
    from bench.cli.run import ExecutorName, Way, carry_out
    from bench.cli.selection import recall_run

    folder, asked, kept = recall_run(results)
    if not folder.is_dir():
        raise BenchError(f"The last run was in {folder}, which is gone.", "Use bench run.")
    paths = ("store", "results", "out", "data_dir")
    taken: dict[str, Any] = kept | {name: Path(kept[name]) for name in paths if kept.get(name)}
    taken["executor"] = ExecutorName(kept["executor"])
    with contextlib.chdir(folder):
        carry_out(asked, Way(**taken), as_json=as_json, only_lost=failed)
