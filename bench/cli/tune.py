"""`bench tune`: tune a method's hyper-parameters on the validation split."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options as o
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.tuning.report import TuneResult

SEARCHES = Path(".bench/tuning")
BUDGET = "nano"


class AlgorithmName(StrEnum):
    """How configurations are sampled."""

    random = "random"
    optuna = "optuna"


class SchedulerName(StrEnum):
    """How configurations are stopped early."""

    asha = "asha"
    none = "none"


MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="Method to tune.")]
DatasetName = Annotated[str, typer.Option("--dataset", metavar="D", help="Data set.")]
NumTrials = Annotated[
    int,
    typer.Option(
        "--trials", metavar="N", help="Number of configurations; the first is the present one."
    ),
]
MetricName = Annotated[
    str, typer.Option("--metric", metavar="M", help="Metric on validation that decides.")
]
SpaceFile = Annotated[
    Path | None,
    typer.Option("--space", metavar="FILE", help="TOML file in place of the method's own space."),
]
Algorithm = Annotated[
    AlgorithmName, typer.Option("--search", help="How configurations are sampled.")
]
Scheduler = Annotated[
    SchedulerName | None,
    typer.Option("--scheduler", help="Early stopping; asha if the method declares a resource."),
]
SearchSeed = Annotated[
    int, typer.Option("--seed", min=0, help="Decides which configurations are sampled.")
]
BestFile = Annotated[
    Path | None,
    typer.Option("--best", metavar="FILE", help="Board of the best settings; next to the page."),
]
SearchesFolder = Annotated[
    Path, typer.Option("--searches", metavar="DIR", help="Results on validation, Tune's state.")
]
Address = Annotated[str | None, typer.Option("--address", help="Join a running Ray cluster.")]
Cpus = Annotated[
    int | None, typer.Option("--cpus", min=1, help="CPUs that Ray may use; all by default.")
]
TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", min=0.1, help="Seconds per unit of work.")
]


def tune(
    method: MethodName,
    dataset: DatasetName,
    num_trials: NumTrials,
    model: o.Model = None,
    model_path: o.ModelPath = None,
    scale: o.Scale = None,
    rows: o.RowCounts = None,
    settings: o.Settings = None,
    metric: MetricName = "NDCG@5",
    space: SpaceFile = None,
    algorithm: Algorithm = AlgorithmName.random,
    scheduler: Scheduler = None,
    seed: SearchSeed = 0,
    address: Address = None,
    num_cpus: Cpus = None,
    time_limit: TimeLimit = None,
    best: BestFile = None,
    store: o.StoreFolder = o.STORE,
    searches: SearchesFolder = SEARCHES,
    out: o.PagesFolder = o.PAGES,
    data_dir: o.DataDir = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Tune hyper-parameters on the validation split. Re-run the same command to resume.

    Exit code: 0 all fine, 1 some configuration failed, 2 wrong use, 130 interrupted.
    """
    from bench.cli.selection import parse_rows
    from bench.config.toml import parse_override
    from bench.runner.loop import RunOptions
    from bench.runner.store import Store
    from bench.tuning.search import SearchSetup, plan_search
    from bench.tuning.space import load_space

    if address is not None and num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")
    setup = SearchSetup(
        method=method,
        dataset=dataset,
        model=model,
        budget=scale or BUDGET,
        metric=metric,
        num_trials=num_trials,
        algorithm=algorithm.value,
        scheduler=None if scheduler is None else scheduler.value,
        seed=seed,
        rows=parse_rows(rows or ""),
        overrides=tuple(parse_override(text) for text in settings or ()),
        data_dir=data_dir,
        model_path=None if model_path is None else model_path.absolute(),
    )
    search = plan_search(setup, load_space(method, space))
    folder = searches / search.id
    options = RunOptions(
        store=Store(store.absolute()),
        results=(folder / "results").absolute(),
        data_dir=None if data_dir is None else data_dir.absolute(),
        model_path=setup.model_path,
        offline=offline,
    )
    # Ray's daemons report lost workers on standard output, which is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        from bench.tuning.run import run_search

        result = run_search(
            search,
            options,
            folder=folder,
            time_limit=time_limit,
            address=address,
            num_cpus=num_cpus,
        )
    _print_result(result, best=best, out=out, as_json=as_json)
    sys.exit(130 if result.interrupted else int(result.num_failed > 0))


def _print_result(result: TuneResult, *, best: Path | None, out: Path, as_json: bool) -> None:
    """Write the pages unless the search was interrupted, and print the table."""
    from tabulate import tabulate

    from bench.tuning import pages
    from bench.tuning.report import describe_search

    command = shlex.join(["bench", *sys.argv[1:]])
    written = []
    if not result.interrupted:
        written = pages.write_result(result, out / "tuning", command)
        board = best or written[0].with_name("best.toml")
        if result.best is not None:
            pages.write_best(result, board, command)
    if as_json:
        print(json.dumps({**result.to_json(), "stages_run": result.stages_run}, indent=2))
        return
    headers, lines = pages.make_table(result)
    print(describe_search(result) + "\n")
    print(tabulate(lines, headers=headers, disable_numparse=True))
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
