"""`bench run`: everything from cards to pages. What it was asked is kept for `bench retry`."""

from __future__ import annotations

import contextlib
import dataclasses
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
    from bench.plan.trials import Board
    from bench.runner.executors import Executor
    from bench.runner.loop import RunSummary


class ExecutorName(StrEnum):
    """Where units of work run."""

    ray = "ray"
    inline = "inline"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """Where a run takes place, and where it reads and writes: the options of the same names."""

    executor: ExecutorName = ExecutorName.ray
    address: str | None = None
    num_cpus: int | None = None
    time_limit: float | None = None
    store: Path = o.STORE
    results: Path = o.RESULTS
    out: Path = o.PAGES
    data_dir: Path | None = None
    offline: bool = False


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
    log_to: o.LogTo = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings and plan; run nothing.")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Run what is missing of every method × data set × seed, then test and render the boards.

    Exit code: 0 all fine, 1 some cell failed, 2 wrong use, 130 interrupted.
    """
    way = Way(
        executor=executor,
        address=address,
        num_cpus=num_cpus,
        time_limit=time_limit,
        store=store,
        results=results,
        out=out,
        data_dir=data_dir,
        offline=offline,
    )
    if dry_run:
        _show(asked, way, as_json=as_json)
    else:
        carry_out(asked, way, as_json=as_json, log_to=log_to or ())


def _show(asked: o.Asked, way: Way, *, as_json: bool) -> None:
    from bench.cli.plan import show_plan
    from bench.cli.selection import cells, distinct, select

    planned = cells(select(asked), data_dir=way.data_dir)
    if not as_json:
        _print_settings(planned)
    show_plan(distinct(planned), way.store, as_json=as_json)


def carry_out(
    asked: o.Asked,
    way: Way,
    *,
    as_json: bool,
    only_lost: bool = False,
    log_to: Sequence[str] = (),
) -> None:
    """Run what was asked for and leave with the exit code.

    Args:
        asked: What to run.
        way: Where.
        as_json: Print one JSON document instead of tables.
        only_lost: Only the trials that are recorded as failed or skipped; boards are shown whole.
        log_to: Trackers; not remembered for `bench retry`, as an address may hold a password.
    """
    from bench.cli.report import print_tables, render_boards
    from bench.cli.selection import cells, distinct, remember, remember_run, select
    from bench.results.trackers.hook import Trackers, collect_tags, parse_targets
    from bench.runner.executors import set_thread_environment
    from bench.runner.loop import RunOptions
    from bench.runner.loop import run as run_trials
    from bench.runner.store import Store
    from bench.runner.write_results import needs_retry

    make = _executor(way)
    environments = parse_targets(log_to, offline=way.offline)
    selection = select(asked)
    planned = cells(selection, data_dir=way.data_dir)
    trials = distinct(planned)
    if only_lost:
        trials = [trial for trial in trials if needs_retry(trial, way.results)]
    set_thread_environment()
    remember(selection, way.results)
    remember_run(asked, dataclasses.asdict(way), way.results)
    trackers = Trackers(environments, way.results, collect_tags(planned))
    options = RunOptions(
        store=Store(way.store),
        results=way.results,
        data_dir=way.data_dir,
        model_path=selection.model_path,
        offline=way.offline,
        quiet=as_json,
        trackers=environments,
        on_result=trackers.report,
    )
    # Ray's daemons report lost workers on standard output, which belongs to the answer.
    with contextlib.redirect_stdout(sys.stderr), trackers:
        summary = run_trials(trials, options=options, executor=make)
        tables, written = render_boards(planned, way.results, way.out, store=options.store)
    if as_json:
        print(json.dumps(_content(summary, way.results), indent=2))
    else:
        print_tables(tables)
        _print_summary(summary, way.results, written)
    sys.exit(summary.exit_code)


def _executor(way: Way) -> Callable[[], Executor]:
    """Return what makes the executor; it is called only if something must run."""
    inline = way.executor is ExecutorName.inline
    if inline and (way.address is not None or way.num_cpus is not None):
        raise BenchError("--address and --cpus are Ray's.", "Leave out --executor inline.")
    if way.address is not None and way.num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")

    def make() -> Executor:
        if inline:
            from bench.runner.executors import InlineExecutor

            return InlineExecutor(time_limit=way.time_limit)
        from bench.runner.ray_executor import RayExecutor

        return RayExecutor(address=way.address, time_limit=way.time_limit, num_cpus=way.num_cpus)

    return make


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


def _lost(summary: RunSummary, results: Path) -> list[dict[str, str]]:
    """List the trials without metrics: why, and where their logs are."""
    from bench.runner.run_directory import get_log_path

    lost = [("failed", *item) for item in summary.failed.items()]
    lost += [("skipped", *item) for item in summary.skipped.items()]
    logs = [get_log_path(results, trial) for _, trial, _ in lost]
    return [
        {"status": status, "trial": trial, "why": why, "log": str(log) if log.is_file() else ""}
        for (status, trial, why), log in zip(lost, logs, strict=True)
    ]


def _content(summary: RunSummary, results: Path) -> dict[str, Any]:
    return {
        "trials": {
            "ok": len(summary.ok),
            "failed": len(summary.failed),
            "skipped": len(summary.skipped),
        },
        "stages": {"run": summary.stages_run, "reused": summary.stages_reused},
        "seconds": summary.seconds,
        "lost": _lost(summary, results),
    }


def _print_summary(summary: RunSummary, results: Path, written: list[Path]) -> None:
    from tabulate import tabulate

    lost = _lost(summary, results)
    if lost:
        print(tabulate(lost, headers="keys", maxcolwidths=(None, None, 60, None)))
        print()
    ok, failed, skipped = len(summary.ok), len(summary.failed), len(summary.skipped)
    print(f"{ok} trials ok, {failed} failed, {skipped} skipped.")
    stages = f"{summary.stages_run} stages run, {summary.stages_reused} reused"
    print(f"{stages}, {summary.seconds:.1f} s.")
    for path in written:
        if path.suffix == ".html":
            print(f"Page: {path}")
    if summary.interrupted:
        print("Interrupted: the same command goes on from here, and so does `bench retry`.")
    elif lost:
        print("Again, only what is in the table: bench retry --failed")
