"""A whole run: plan boards, run what is missing, assemble and render the boards."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.config.request import RESULTS, DataOptions, ExecutionOptions, RunRequest
from bench.errors import BenchError
from bench.files import require_writable
from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
from bench.plan.device import Device, plan_for
from bench.report.adaptive_seeds import MAX_SEEDS, decide_rows, list_looks
from bench.report.boards import render_boards
from bench.report.data_pages.count_page import render_tables, requested_tables
from bench.report.render.pages import render_index
from bench.report.table import BoardTable
from bench.results.load import load_results
from bench.results.run_records import read_last_run, record_boards, record_run
from bench.results.trackers.hook import Trackers, collect_tags, parse_targets
from bench.runner.executors import Executor, InlineExecutor, set_thread_environment
from bench.runner.loop import RunOptions, RunSummary
from bench.runner.loop import run as run_trials
from bench.runner.preflight import check_available
from bench.runner.run_directory import get_log_path
from bench.runner.store import Store
from bench.runner.write_results import needs_retry
from bench.stats.corrections import ALPHA

FOLDERS = {"store": "--store", "results": "--results", "pages": "--out"}
"""Options of the folders that a run writes, by field of `ExecutionOptions`."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did, and the boards as they are now.

    Attributes:
        summary: Which trials succeeded, failed and were skipped.
        tables: The boards.
        pages: Paths of the rendered files.
        lost: Per trial without metrics: "status", "trial" (its id), "why", and "log" (the path of
            its log, or "").
        decisions: With `until_decided`, one sentence per row and one on the number of seeds.
    """

    summary: RunSummary
    tables: tuple[BoardTable, ...]
    pages: tuple[Path, ...]
    lost: tuple[dict[str, str], ...]
    decisions: tuple[str, ...] = ()


def run(
    request: RunRequest,
    options: ExecutionOptions | None = None,
    *,
    trackers: Sequence[str] = (),
    only_failed: bool = False,
    quiet: bool = False,
) -> RunReport:
    """Run what is missing of every method × data set × seed, then test and render the boards.

    Re-running recomputes nothing: finished stages are read from the store. Standard output is
    redirected to standard error meanwhile, because Ray's daemons report lost workers there.

    Args:
        request: What to run.
        options: Where to compute, read and write.
        trackers: `TRACKER[=TARGET]`, where the tracker is mlflow, tensorboard or wandb.
        only_failed: Whether to run only trials recorded as failed or skipped; the boards are
            rendered completely.
        quiet: Whether to print no progress.

    Returns:
        Which trials succeeded, the boards' tables and the paths of their pages.

    Raises:
        BenchError: If the request or the options are not valid. A trial that fails raises nothing.
    """
    run_once = partial(
        _run_once,
        relative=options or ExecutionOptions(),
        trackers=trackers,
        only_failed=only_failed,
        quiet=quiet,
    )
    if not request.until_decided:
        if request.max_seeds is not None:
            raise BenchError("--max-seeds is for --until-decided.", "Use --seeds.")
        return run_once(request)
    boards = select_boards(request).boards
    first = max(2, request.seeds or max(board.card.seeds for board in boards))
    looks = list_looks(first, request.max_seeds or MAX_SEEDS)
    for seeds in looks:
        report = run_once(dataclasses.replace(request, seeds=seeds))
        rows = list(decide_rows(report.tables, len(looks)))
        if report.summary.stopped_by or all(within is not None for _, within in rows):
            break
    sentences = [text for text, _ in rows] or ["No row could be tested for equivalence."]
    sentences.append(
        f"{seeds} seeds; decisions have the level {ALPHA:g} per row over {len(looks)} possible "
        "looks, † and intervals of the page are those of a single look."
    )
    return dataclasses.replace(report, decisions=tuple(sentences))


def _run_once(
    request: RunRequest,
    *,
    relative: ExecutionOptions,
    trackers: Sequence[str],
    only_failed: bool,
    quiet: bool,
) -> RunReport:
    home = Path.cwd()
    for field, option in FOLDERS.items():
        require_writable(getattr(relative, field), option)
    if relative.data_dir is not None and not relative.data_dir.is_dir():
        raise BenchError(
            f"--data-dir {relative.data_dir} is no folder.",
            "Name that of your raw files, or leave it out.",
        )
    options = dataclasses.replace(  # a plug-in may change the working directory
        relative,
        store=home / relative.store,
        results=home / relative.results,
        pages=home / relative.pages,
        data_dir=relative.data_dir and home / relative.data_dir,
    )
    data_tables = requested_tables(request)
    data_options = DataOptions(
        store=options.store, data_dir=options.data_dir, offline=options.offline
    )

    def report(summary: RunSummary, tables: Sequence[BoardTable], pages: list[Path]) -> RunReport:
        return RunReport(
            summary=summary,
            tables=tuple(tables),
            pages=tuple(relative.pages / path.relative_to(options.pages) for path in pages),
            lost=tuple(_list_lost(summary, options.results, relative.results)),
        )

    if request.board in data_tables:
        pages = render_tables(data_tables, data_options, options.pages)[1]
        render_index(options.pages)
        nothing = RunSummary(
            ok=(), failed={}, skipped={}, stages_run=0, stages_reused=0, seconds=0.0
        )
        return report(nothing, (), pages)
    make_executor = choose_executor(options)
    environments = parse_targets(trackers, offline=options.offline)
    selection = select_boards(request, offline=options.offline)
    with plan_for(_find_device(options)):
        planned = plan_boards(selection, data_dir=options.data_dir)
    trials = distinct_trials(planned)
    if only_failed:
        trials = [trial for trial in trials if needs_retry(trial, options.results)]
    if not (options.keep_going or request.rehearse):
        check_available(trials, options.store, data_dir=options.data_dir, offline=options.offline)
    set_thread_environment()
    record_boards(selection, options.results)
    # Without trackers: a URL may hold a password.
    record_run(request, relative, options.results, folder=home)
    reporter = Trackers(environments, options.results, collect_tags(planned))
    run_options = RunOptions(
        store=Store(options.store),
        results=options.results,
        data_dir=options.data_dir,
        model_paths=selection.model_paths,
        offline=options.offline,
        quiet=quiet,
        time_limit=options.time_limit,
        trackers=environments,
        on_result=reporter.report,
    )
    with contextlib.redirect_stdout(sys.stderr), reporter:
        summary = run_trials(trials, options=run_options, executor=make_executor)
        table_pages = render_tables(data_tables, data_options, options.pages)[1]
        tables, pages = render_boards(
            planned, load_results(options.results), options.pages, store=options.store
        )
    return report(summary, tables, pages + table_pages)


def _find_device(options: ExecutionOptions) -> Device | None:
    """Return the device class of the cluster; None for this machine's."""
    if options.address is None:
        return None
    from bench.runner.ray_process import RayProcess

    process = RayProcess("bench.runner.ray_session:RaySession", address=options.address)
    try:
        device: Device = process.call("get_device")
    finally:
        process.end()
    return device


def _list_lost(summary: RunSummary, results: Path, folder: Path) -> Iterator[dict[str, str]]:
    for status, reasons in (("failed", summary.failed), ("skipped", summary.skipped)):
        for trial, why in reasons.items():
            log = get_log_path(results, trial)
            text = str(folder / log.relative_to(results)) if log.is_file() else ""
            yield {"status": status, "trial": trial, "why": why, "log": text}


def retry(
    results: Path | str = RESULTS, *, only_failed: bool = False, quiet: bool = False
) -> RunReport:
    """Repeat the last run into a results folder, with its request, options and working directory.

    Args:
        results: Folder of the results.
        only_failed: Whether to run only trials recorded as failed or skipped.
        quiet: Whether to print no progress.

    Raises:
        BenchError: If there was no run, or its record or working directory is gone.
    """
    last = read_last_run(Path(results))
    with contextlib.chdir(last.folder):
        return run(last.request, last.execution, only_failed=only_failed, quiet=quiet)


def choose_executor(options: ExecutionOptions) -> Callable[[], Executor]:
    """Return a function that creates the executor; it is called only if something must run."""
    if options.executor == "inline":
        if options.address is not None or options.num_cpus is not None:
            raise BenchError(
                "--address and --cpus are for the Ray executor.", "Leave out --executor inline."
            )
        return InlineExecutor
    if options.address is not None and options.num_cpus is not None:
        raise BenchError(
            "A running cluster has its own CPUs, so --cpus cannot be given with --address.",
            "Leave out --cpus or --address.",
        )

    def make() -> Executor:
        from bench.runner.ray_executor import RayExecutor

        return RayExecutor(address=options.address, num_cpus=options.num_cpus)

    return make
