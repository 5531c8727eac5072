"""`bench tune`: tune a method's hyper-parameters on the validation split."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import bench
from bench.cli import options as o
from bench.config import plugins
from bench.config.cards import RowCounts
from bench.config.search_path import extend_path
from bench.config.toml import parse_override
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.config.cards import BoardCard
    from bench.tuning.board import TunedRows
    from bench.tuning.report import TuneResult
    from bench.tuning.search import SearchSetup

BUDGET = "nano"


def tune(
    method: str | None = o.argument("[METHOD]", "Method to tune, or use --board.", None),
    *,
    board: str | None = o.BOARD,
    dataset: str = o.option("--dataset", "NAME", "Data set.", ...),
    num_trials: int = o.option(
        "--trials", "N", "Number of configurations; the first is the present one.", ...
    ),
    model: str | None = o.MODEL,
    model_paths: list[str] | None = o.MODEL_PATHS,
    budget: str | None = o.BUDGET,
    scale: str | None = o.FORMER_SCALE,
    rows: dict[str, Any] | None = o.ROWS,
    settings: list[str] | None = o.SETTINGS,
    metric: str = o.option("--metric", "NAME", "Metric on validation that decides.", "NDCG@5"),
    space: Path | None = o.option(
        "--space", "FILE", "TOML file of the search space (default: the method's own)."
    ),
    algorithm: Literal["random", "optuna"] = o.option(
        "--search", None, "How configurations are sampled.", "random"
    ),
    scheduler: Literal["asha", "none"] | None = o.option(
        "--scheduler", None, "Early stopping (default: asha if there is a resource)."
    ),
    seed: int = o.option("--seed", "N", "Seed for sampling configurations.", 0, min=0),
    address: str | None = o.ADDRESS,
    num_cpus: int | None = o.NUM_CPUS,
    time_limit: float | None = o.TIME_LIMIT,
    best: Path | None = o.option(
        "--best", "FILE", "Board of the best settings (default: next to the page)."
    ),
    store: Path = o.STORE,
    searches: Path = o.SEARCHES,
    out: Path = o.PAGES,
    data_dir: Path | None = o.DATA_DIR,
    offline: bool = o.OFFLINE,
    as_json: bool = o.AS_JSON,
) -> None:
    """Tune hyper-parameters on the validation split. Re-run the same command to resume.

    --board tunes every row of a board with as many configurations, and writes a board with both.

    Exit code: 0 success, 1 a configuration failed, 2 wrong use; 130, 143 or 129 after
    Ctrl-C, SIGTERM or SIGHUP.
    """
    from bench.tuning.board import tune_board
    from bench.tuning.search import SearchSetup

    if (method is None) == (board is None):
        raise BenchError("Name a method, or a board with --board.", "bench tune sasrec …")
    card = None if board is None else plugins.board_card(board)
    if card is not None and (space or best):
        raise BenchError("--space and --best are for one method.", "Leave them out, or --board.")
    setup = SearchSetup(
        method=method or "",
        dataset=dataset,
        model=model or (card.model if card else None),
        budget=budget or (card.budget if card else BUDGET),
        metric=metric,
        num_trials=num_trials,
        algorithm=algorithm,
        scheduler=scheduler,
        seed=seed,
        rows=RowCounts(**(rows or {})),
        overrides=tuple(parse_override(text) for text in settings or ()),
        data_dir=data_dir,
        model_paths=tuple(model_paths or ()),
    )
    execution = o.ExecutionOptions(
        address=address, num_cpus=num_cpus, time_limit=time_limit, store=store, offline=offline
    )
    if card is not None:
        tuned = tune_board(card, setup, execution, searches=searches)
        sys.exit(_print_board(f"{board}-tuned", card, setup, tuned, out=out, as_json=as_json))
    result = bench.tune(setup, execution, space=space, searches=searches)
    _print_result(result, best=best, out=out, as_json=as_json)
    sys.exit(128 + result.stopped_by if result.stopped_by else int(result.num_failed > 0))


def _print_board(
    name: str, card: BoardCard, setup: SearchSetup, tuned: TunedRows, *, out: Path, as_json: bool
) -> int:
    """Write the board of all rows and their best settings, print a table; return the exit code."""
    from tabulate import tabulate

    from bench.files import write_atomic
    from bench.tuning.board import render_board

    searched = [(row, result) for row, result in tuned if result is not None]
    if stopped := next((result.stopped_by for _, result in searched if result.stopped_by), 0):
        print("Interrupted. Re-run the same command to resume.")
        return 128 + stopped
    command = shlex.join(["bench", *sys.argv[1:]])
    path = out / "tuning" / f"{name}.toml"
    write_atomic(path, render_board(card, setup, tuned, command).encode())
    if as_json:
        o.print_json({row.name: result.to_json() for row, result in searched})
    else:
        lines = [
            [row.name, len(result.configurations), result.values["present"], result.values["best"]]
            for row, result in searched
        ]
        headers = ["row", "configurations", f"{setup.metric}, as it is", "best"]
        print(tabulate(lines, headers=headers, floatfmt=".4f"))
        command = f"{extend_path(path.parent, 'leaderboards')} bench run --board {name}"
        print(f"Board: {path} ({command.strip()})")
    return int(any(result.num_failed for _, result in searched))


def _print_result(result: TuneResult, *, best: Path | None, out: Path, as_json: bool) -> None:
    """Write the pages unless the search was interrupted, and print the table."""
    from bench.files import write_atomic
    from bench.report.render.terminal import fit_table
    from bench.tuning import pages
    from bench.tuning.report import describe_search

    command = shlex.join(["bench", *sys.argv[1:]])
    written = []
    if not result.stopped_by:
        written = pages.write_result(result, out / "tuning", command)
        board = best or written[0].with_name("best.toml")
        if result.best is not None:
            write_atomic(board, pages.best_toml(result, command).encode())
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
    extended = extend_path(board.parent, "leaderboards")
    command = f"{extended} bench run --board {shlex.quote(board.stem)}"
    print(f"Best: {board} ({command.strip()})")
