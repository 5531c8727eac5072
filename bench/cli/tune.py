"""`bench tune`: tune a method's hyper-parameters on the validation split."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import bench
from bench.cli import options as o
from bench.config.request import SEARCHES

if TYPE_CHECKING:
    from bench.tuning.report import TuneResult

BUDGET = "nano"


class AlgorithmName(StrEnum):
    """How configurations are sampled."""

    random = "random"
    optuna = "optuna"


class SchedulerName(StrEnum):
    """How configurations are stopped early."""

    asha = "asha"
    none = "none"


SearchesFolder = Annotated[
    Path, o.folder_option("--searches", "Folder of results on validation and of Tune's state.")
]


def tune(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method to tune.")],
    dataset: Annotated[str, o.option("--dataset", "NAME", "Data set.")],
    num_trials: Annotated[
        int, o.option("--trials", "N", "Number of configurations; the first is the present one.")
    ],
    model: o.Model = None,
    model_paths: o.ModelPaths = None,
    budget: o.Budget = BUDGET,
    scale: o.FormerScale = None,
    rows: o.RowCounts = None,
    settings: o.Settings = None,
    metric: Annotated[
        str, o.option("--metric", "NAME", "Metric on validation that decides.")
    ] = "NDCG@5",
    space: Annotated[
        Path | None,
        o.option("--space", "FILE", "TOML file of the search space (default: the method's own)."),
    ] = None,
    algorithm: Annotated[
        AlgorithmName, typer.Option("--search", help="How configurations are sampled.")
    ] = AlgorithmName.random,
    scheduler: Annotated[
        SchedulerName | None,
        typer.Option("--scheduler", help="Early stopping (default: asha if there is a resource)."),
    ] = None,
    seed: Annotated[int, o.option("--seed", "N", "Seed for sampling configurations.", min=0)] = 0,
    address: o.Address = None,
    num_cpus: o.NumCpus = None,
    time_limit: o.TimeLimit = None,
    best: Annotated[
        Path | None,
        o.option("--best", "FILE", "Board of the best settings (default: next to the page)."),
    ] = None,
    store: o.StoreFolder = o.STORE,
    searches: SearchesFolder = SEARCHES,
    out: o.PagesFolder = o.PAGES,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Tune hyper-parameters on the validation split. Re-run the same command to resume.

    Exit code: 0 success, 1 a configuration failed, 2 wrong use; 130, 143 or 129 after
    Ctrl-C, SIGTERM or SIGHUP.
    """
    from bench.config.cards import RowCounts
    from bench.config.toml import parse_override
    from bench.tuning.search import SearchSetup

    setup = SearchSetup(
        method=method,
        dataset=dataset,
        model=model,
        budget=budget or BUDGET,
        metric=metric,
        num_trials=num_trials,
        algorithm=algorithm.value,
        scheduler=None if scheduler is None else scheduler.value,
        seed=seed,
        rows=RowCounts(**(rows or {})),
        overrides=tuple(parse_override(text) for text in settings or ()),
        data_dir=data_dir,
        model_paths=tuple(model_paths or ()),
    )
    execution = o.ExecutionOptions(
        address=address, num_cpus=num_cpus, time_limit=time_limit, store=store, offline=offline
    )
    result = bench.tune(setup, execution, space=space, searches=searches)
    _print_result(result, best=best, out=out, as_json=as_json)
    sys.exit(128 + result.stopped_by if result.stopped_by else int(result.num_failed > 0))


def _print_result(result: TuneResult, *, best: Path | None, out: Path, as_json: bool) -> None:
    """Write the pages unless the search was interrupted, and print the table."""
    from bench.report.render.terminal import fit_table
    from bench.tuning import pages
    from bench.tuning.report import describe_search

    command = shlex.join(["bench", *sys.argv[1:]])
    written = []
    if not result.stopped_by:
        written = pages.write_result(result, out / "tuning", command)
        board = best or written[0].with_name("best.toml")
        if result.best is not None:
            pages.write_best(result, board, command)
    if as_json:
        o.print_json({**result.to_json(), "stages_run": result.stages_run})
        return
    headers, lines = pages.make_table(result)
    print(describe_search(result) + "\n")
    print(fit_table(lines, headers))
    print(f"\n{result.stages_run} stages run.")
    if not written:
        print("Interrupted. Re-run the same command to resume.")
        return
    print(f"Page: {written[1]}")
    if result.best is None:
        print("No configuration completed, so there are no best settings.")
        return
    path = shlex.quote(str(board.parent))
    print(f"Best: {board} (BENCH_PATH={path} bench run --board {shlex.quote(board.stem)})")
