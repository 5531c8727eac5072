"""`bench run`, `bench retry` and `bench cancel`: run boards, repeat the last run, stop runs."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cli import options as o
from bench.cli.plan import print_plan

if TYPE_CHECKING:
    from bench.plan.board_selection import PlannedBoards
    from bench.report.run_boards import RunReport


MAX_LOST = 5
"""Trials that are listed per reason; all are in the results."""


@o.expand_groups
def run(
    request: o.RunRequest,
    execution: o.ExecutionOptions,
    log_to: list[str] | None = o.LOG_TO,
    dry_run: bool = o.flag("--dry-run", "Print settings and the plan; run nothing."),
    as_json: bool = o.AS_JSON,
) -> None:
    """Run what is missing of every method × data set × seed, then test and render the boards.

    Exit code: 0 success, 1 a trial failed, 2 wrong use; 130, 143 or 129 after
    Ctrl-C, SIGTERM or SIGHUP.
    """
    if dry_run:
        _print_dry_run(request, execution, as_json=as_json)
        return
    finished = bench.run(request, execution, trackers=log_to or (), quiet=as_json)
    _print_report(finished, as_json=as_json)


def retry(
    failed: bool = o.flag("--failed", "Run only trials recorded as failed or skipped."),
    results: Path = o.RESULTS,
    as_json: bool = o.AS_JSON,
) -> None:
    """Repeat the last run into a results folder, with the same options.

    Set $BENCH_PATH as it was. Exit code: as for bench run.
    """
    finished = bench.retry(results, only_failed=failed, quiet=as_json)
    if failed and not as_json and not finished.summary.num_trials:
        print("Nothing to retry: no trial of the last run failed or was skipped.")
        return
    _print_report(finished, as_json=as_json)


def _print_dry_run(request: o.RunRequest, execution: o.ExecutionOptions, *, as_json: bool) -> None:
    from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
    from bench.runner.run_plan import plan_trials

    planned = plan_boards(select_boards(request), data_dir=execution.data_dir)
    if not as_json:
        _print_settings(planned)
    print_plan(plan_trials(distinct_trials(planned), execution.store), as_json=as_json)


def _print_settings(planned: PlannedBoards) -> None:
    for board, row_trials in planned:
        print(f"Board {board.name}: budget {board.card.budget}, {board.card.seeds} seeds")
        for name, trial in {row.name: trial for row, trial in row_trials}.items():
            settings = ", ".join(f"{path}={value}" for path, value in trial.settings.items())
            print(f"  {name} ({trial.method}): {settings or 'no settings'}")
        rows = row_trials[0][1].rows.model_dump()
        counts = ", ".join(f"{split} {count or 'all'}" for split, count in rows.items())
        print(f"  rows: {counts}\n")


def _format_lost(lost: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Group trials without metrics by what happened and why: one sentence, then their ids."""
    from bench.report.render.terminal import output_width

    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for trial in lost:
        groups.setdefault((trial["status"], trial["why"]), []).append(trial)
    for (status, why), trials in groups.items():
        reason = why.removeprefix("Skipped: ")
        yield textwrap.fill(f"{len(trials)} {status}: {reason}", output_width()) + "\n"
        for trial in trials[:MAX_LOST]:
            yield f"  {trial['trial']}\n" + (f"    log: {trial['log']}\n" if trial["log"] else "")
        if len(trials) > MAX_LOST:
            yield f"  and {len(trials) - MAX_LOST} more\n"
        yield "\n"


def _print_report(finished: RunReport, *, as_json: bool) -> None:
    """Print what a run did, and leave with its exit code."""
    from bench.report.render.terminal import render_table

    summary, lost = finished.summary, finished.lost
    ok, failed, skipped = len(summary.ok), len(summary.failed), len(summary.skipped)
    if as_json:
        o.print_json(
            {
                "trials": {"ok": ok, "failed": failed, "skipped": skipped},
                "stages": {"run": summary.stages_run, "reused": summary.stages_reused},
                "seconds": summary.seconds,
                "lost": lost,
                "decisions": finished.decisions,
            }
        )
        sys.exit(summary.exit_code)
    for table in finished.tables:
        print(render_table(table))
    if finished.decisions:
        print("\n".join(finished.decisions) + "\n")
    print("".join(_format_lost(lost)), end="")
    print(f"{ok} trials ok, {failed} failed, {skipped} skipped.")
    stages = f"{summary.stages_run} stages run, {summary.stages_reused} reused"
    print(f"{stages}, {summary.seconds:.1f} s.")
    for path in finished.pages:
        if path.suffix == ".html":
            print(f"Page: {path}")
    if summary.stopped_by:
        print("Interrupted. To continue, repeat the command or use `bench retry`.")
    elif lost:
        print("To retry only the trials above: bench retry --failed")
    sys.exit(summary.exit_code)


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
