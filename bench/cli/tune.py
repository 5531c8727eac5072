"""`bench tune`: search a method's settings on validation."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options as o
from bench.cli.options import ExecutorName
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.tuning.asha import Look
    from bench.tuning.report import Findings
    from bench.tuning.search import Search
    from bench.tuning.search_state import Book

SEARCHES = Path(".bench/tuning")
BUDGET = "nano"

MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="Whose settings are searched.")]
DatasetName = Annotated[str, typer.Option("--dataset", metavar="D", help="On which data set.")]
NumTrials = Annotated[
    int,
    typer.Option(
        "--trials", metavar="N", help="Configurations, the settings as they are among them."
    ),
]
MetricName = Annotated[
    str, typer.Option("--metric", metavar="M", help="What is best on validation.")
]
SpaceFile = Annotated[
    Path | None,
    typer.Option("--space", metavar="FILE", help="TOML instead of the method's own space."),
]
SearchSeed = Annotated[
    int, typer.Option("--seed", min=0, help="Decides which configurations are tried.")
]
BestFile = Annotated[
    Path | None,
    typer.Option("--best", metavar="FILE", help="Where the best becomes a board; beside the page."),
]
SearchesFolder = Annotated[
    Path, typer.Option("--searches", metavar="DIR", help="Results on validation cases.")
]
Executor = Annotated[ExecutorName, typer.Option("--executor", help="Ray Tune, or this process.")]
Address = Annotated[str | None, typer.Option("--address", help="Join a running Ray cluster.")]
Cpus = Annotated[
    int | None, typer.Option("--cpus", min=1, help="CPUs that Ray may use; all by default.")
]
TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", min=0.1, help="Seconds for one look.")
]


def tune(
    method: MethodName,
    dataset: DatasetName,
    num_trials: NumTrials,
    model: o.Model = None,
    model_path: o.ModelPath = None,
    budget: o.Budget = None,
    scale: o.FormerScale = None,
    rows: o.RowCounts = None,
    settings: o.Settings = None,
    metric: MetricName = "NDCG@5",
    space: SpaceFile = None,
    seed: SearchSeed = 0,
    executor: Executor = ExecutorName.ray,
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
    """Search a method's settings on validation rows; what stopped, goes on by the same command.

    Exit code: 0 all fine, 1 some configuration failed, 2 wrong use, 130 interrupted.
    """
    from bench.config.cards import Rows
    from bench.config.toml import parse_override
    from bench.runner.loop import RunOptions, fetch_raw_files
    from bench.runner.store import Store
    from bench.tuning.report import findings
    from bench.tuning.search import Setup, plan_search
    from bench.tuning.search_state import Book, results_folder
    from bench.tuning.space import space_of

    if executor is ExecutorName.inline and (address is not None or num_cpus is not None):
        raise BenchError("--address and --cpus are Ray's.", "Leave out --executor inline.")
    if address is not None and num_cpus is not None:
        raise BenchError("A running cluster has its own CPUs.", "Leave out --cpus or --address.")
    setup = Setup(
        method=method,
        dataset=dataset,
        model=model,
        budget=budget or BUDGET,
        metric=metric,
        num=num_trials,
        seed=seed,
        rows=Rows(**(rows or {})),
        overrides=[parse_override(text) for text in settings or ()],
        data_dir=data_dir,
        model_path=None if model_path is None else model_path.absolute(),
    )
    search = plan_search(setup, space_of(method, space))
    options = RunOptions(
        store=Store(store),
        results=results_folder(searches, search),
        data_dir=data_dir,
        model_path=setup.model_path,
        offline=offline,
    )
    # Ray's daemons report lost workers on standard output, which belongs to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        book = Book(search, options)
        fetch_raw_files(book.graph.stages.values(), options)
        interrupted = _work_off(
            book,
            executor,
            folder=searches / search.id,
            address=address,
            num_cpus=num_cpus,
            time_limit=time_limit,
        )
    _tell(findings(book), book, interrupted, best=best, out=out, as_json=as_json)


def _work_off(
    book: Book,
    executor: ExecutorName,
    *,
    folder: Path,
    address: str | None,
    num_cpus: int | None,
    time_limit: float | None,
) -> bool:
    """Make all looks; tell whether Ctrl-C ended it."""
    from bench.tuning.drivers import run_inline, run_with_tune

    def say(look: Look) -> None:
        print(_progress(book.search, book, look), file=sys.stderr, flush=True)

    try:
        if executor is ExecutorName.inline:
            run_inline(book, say=say, time_limit=time_limit)
        else:
            run_with_tune(
                book,
                say=say,
                folder=folder,
                time_limit=time_limit,
                address=address,
                num_cpus=num_cpus,
            )
    except KeyboardInterrupt:
        return True
    return False


def _progress(search: Search, book: Book, look: Look) -> str:
    name = f"Configuration {look.configuration + 1} of {len(search.changes)}"
    if search.space.resource:
        name += f", {search.space.resource} {search.rungs[look.rung]}"
    if look in book.values:
        return f"{name}: {search.setup.metric} {book.values[look]:.4f}"
    return f"{name} failed: {book.problems[look]}"


def _tell(
    found: Findings,
    book: Book,
    interrupted: bool,
    *,
    best: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write the pages, print the table, leave with the exit code."""
    from tabulate import tabulate

    from bench.tuning import pages
    from bench.tuning import report as findings

    command = shlex.join(["bench", *sys.argv[1:]])
    if not interrupted:
        written = pages.write_findings(found, out / "tuning", command)
        board = best or written[0].with_name("best.toml")
        if found.best is not None:
            pages.write_best(found, board, command)
    if as_json:
        print(json.dumps({**findings.as_json(found), "stages_run": len(book.ran)}, indent=2))
    else:
        heads, lines = pages.table(found)
        print(findings.how(found) + "\n")
        print(tabulate(lines, headers=heads, disable_numparse=True))
        print(f"\n{len(book.ran)} stages run, {found.seconds:.1f} s of stages in all.")
        if interrupted:
            print("Interrupted: the same command goes on from here.")
        else:
            print(f"Page: {written[1]}")
            print(_advice(found, board))
    sys.exit(130 if interrupted else int(found.num_failed > 0))


def _advice(found: Findings, board: Path) -> str:
    if found.best is None:
        return "No configuration came to the end, so there is no best."
    folder = shlex.quote(str(board.parent))
    return f"Best: {board} (BENCH_PATH={folder} bench run --board {shlex.quote(board.stem)})"
