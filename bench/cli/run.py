"""`bench run`: everything from cards to pages."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cli.selection import Cells
    from bench.runner.executors import Executor
    from bench.runner.run import Options, Summary
    from bench.trials import Board, Trial


class ExecutorName(StrEnum):
    """Where units of work run."""

    ray = "ray"
    inline = "inline"


@o.asking
def run(
    asked: o.Asked,
    executor: Annotated[
        ExecutorName, typer.Option("--executor", help="Ray tasks, or this process.")
    ] = ExecutorName.ray,
    address: Annotated[
        str | None, typer.Option("--address", help="Join a running Ray cluster.")
    ] = None,
    num_cpus: Annotated[
        int | None, typer.Option("--cpus", min=1, help="CPUs that Ray may use; all by default.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", min=0.1, help="Seconds for one unit of work.")
    ] = None,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
    out: o.PagesFolder = o.PAGES,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings and plan; run nothing.")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Run what is missing of every method × data set × seed, then test and render the boards.

    Exit code: 0 all fine, 1 some cell failed, 2 wrong use, 130 interrupted.
    """
    from bench.cli.plan import show_plan
    from bench.cli.selection import cells, distinct, remember, select

    selection = select(asked)
    planned = cells(selection, data_dir=data_dir)
    trials = distinct(planned)
    if dry_run:
        if not as_json:
            _print_settings(planned)
        show_plan(trials, store, as_json=as_json)
        return

    from bench.cli.report import print_tables, render_boards
    from bench.runner.executors import be_patient
    from bench.runner.run import Options
    from bench.runner.run import run as run_trials
    from bench.store import Store

    be_patient()
    make = _executor(executor, address=address, num_cpus=num_cpus, time_limit=time_limit)
    remember(selection, results)
    options = Options(
        store=Store(store),
        results=results,
        data_dir=data_dir,
        model_path=selection.model_path,
        offline=offline,
        quiet=as_json,
    )
    # Ray's daemons report lost workers on standard output, which belongs to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        fetch(trials, options)
        summary = run_trials(trials, options=options, executor=make)
        tables, written = render_boards(planned, results, out)
    if as_json:
        content = {
            "trials": {
                "ok": len(summary.ok),
                "failed": len(summary.failed),
                "skipped": len(summary.skipped),
            },
            "stages": {"run": summary.stages_run, "reused": summary.stages_reused},
            "seconds": summary.seconds,
        }
        print(json.dumps(content, indent=2))
    else:
        print_tables(tables)
        _print_summary(summary, written)
    sys.exit(summary.exit_code)


def _executor(
    name: ExecutorName, *, address: str | None, num_cpus: int | None, time_limit: float | None
) -> Callable[[], Executor]:
    """Return what makes the executor; it is called only if something must run."""
    if name is ExecutorName.inline and (address is not None or num_cpus is not None):
        raise BenchError("--address and --cpus are Ray's.", "Leave out --executor inline.")
    if address is not None and num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")

    def make() -> Executor:
        if name is ExecutorName.inline:
            from bench.runner.executors import InlineExecutor

            return InlineExecutor(time_limit=time_limit)
        from bench.runner.ray import RayExecutor

        return RayExecutor(address=address, time_limit=time_limit, num_cpus=num_cpus)

    return make


def fetch(trials: Sequence[Trial], options: Options) -> None:
    """Fetch raw files here, where a person sees the progress; what fails is the stage's to say."""
    from bench.graph import build
    from bench.stages.prepare import fetch_raw

    stages = build(trial for trial in trials if not trial.problem).stages.values()
    for stage in stages:
        if stage.kind in ("prepare", "lists") and not options.store.has(stage.kind, stage.key):
            args: dict[str, Any] = dict(stage.args)
            with contextlib.suppress(BenchError):
                fetch_raw(
                    args["name"],
                    args["checksums"],
                    data_dir=options.data_dir,
                    offline=options.offline,
                )


def _print_settings(planned: list[tuple[Board, Cells]]) -> None:
    for board, row_trials in planned:
        print(f"Board {board.name}: budget {board.card.budget}, {board.card.seeds} seeds")
        shown = {row.name: trial for row, trial in row_trials}
        for name, trial in shown.items():
            settings = ", ".join(f"{key}={value}" for key, value in trial.settings.items())
            print(f"  {name} ({trial.method}): {settings or 'no settings'}")
        rows = row_trials[0][1].rows.model_dump()
        print(
            "  rows: " + ", ".join(f"{split} {num or 'all'}" for split, num in rows.items()) + "\n"
        )


def _print_summary(summary: Summary, written: list[Path]) -> None:
    from tabulate import tabulate

    lost = [("failed", *item) for item in summary.failed.items()]
    lost += [("skipped", *item) for item in summary.skipped.items()]
    if lost:
        print(tabulate(lost, headers=("status", "trial", "why"), maxcolwidths=(None, None, 70)))
        print()
    ok, failed, skipped = len(summary.ok), len(summary.failed), len(summary.skipped)
    print(f"{ok} trials ok, {failed} failed, {skipped} skipped.")
    stages = f"{summary.stages_run} stages run, {summary.stages_reused} reused"
    print(f"{stages}, {summary.seconds:.1f} s.")
    for path in written:
        if path.suffix == ".html":
            print(f"Page: {path}")
    if summary.interrupted:
        print("Interrupted: the same command goes on from here.")
