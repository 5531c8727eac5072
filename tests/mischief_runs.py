"""A method that does what files tell it, and runs of it: what tests of the runner share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.cards import BoardCard, BoardRow
from bench.plan.trials import Board, Trial, board_trials, collect_ks
from bench.runner.executors import Executor
from bench.runner.loop import RunOptions, RunSummary, run
from bench.runner.store import Store

# A method whose scorer does what a file tells it, so that a failure can be switched off again.
MISCHIEF = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.api import rank, Plan


def fit(train, catalog, *, folder, seed):
    orders = Path(folder) / f"{seed}"
    what = orders.read_text() if orders.exists() else ""
    if what == "error":
        raise ValueError("told to fail")
    if what == "memory once":
        orders.unlink()
        raise MemoryError("told to run out")
    if what == "hang":
        time.sleep(60)
    if what == "nan":
        return lambda histories: np.full((len(histories), len(catalog)), np.nan)
    if what.startswith("die"):
        orders.unlink() if what == "die once" else None
        os.kill(os.getpid(), signal.SIGKILL)
    return lambda histories: np.tile(np.arange(len(catalog), 0.0, -1), (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Mischief: does what it is told."""
    folder: str = ""
    def plan(self, data, model, seed):
        settings = {"folder": self.folder, "seed": seed}
        scorer = "mischief:fit"
        return Plan(final=rank(data.test, scorer=scorer, train=data.train, settings=settings))
'''


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the method known; return the folder where its orders go, one file a seed."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "mischief.py").write_text(MISCHIEF)
    monkeypatch.setenv("BENCH_PATH", str(plugins))
    (folder / "orders").mkdir()
    return folder / "orders"


def trials(orders: Path | None = None, seeds: int = 2, rows: tuple[str, ...] = ()) -> list[Trial]:
    lines = [BoardRow(method=name) for name in rows]
    if orders is not None:
        lines.append(BoardRow(method="mischief", settings={"folder": str(orders)}))
    card = BoardCard(
        title="T",
        datasets=("synthetic",),
        rows=tuple(lines),
        metrics=("NDCG@5",),
        seeds=seeds,
        budget="smoke",
    )
    board = Board(name="t", card=card)
    return [trial for _, trial in board_trials(board, ks=collect_ks([board]))]


def go(folder: Path, todo: list[Trial], executor: Callable[[], Executor]) -> RunSummary:
    options = RunOptions(store=Store(folder / "store"), results=folder / "results", quiet=True)
    return run(todo, options=options, executor=executor)
