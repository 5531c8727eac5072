"""A method that does what files say, and runs of it, shared by tests of the runner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.config.cards import BoardCard, BoardRow
from bench.plan.trials import Board, Trial, board_trials, collect_ks
from bench.runner.executors import Executor
from bench.runner.loop import RunOptions, RunSummary, run
from bench.runner.store import Store

# A method whose scorer does what a file tells it, so that a failure can be switched off again.
SCRIPTED = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from bench.api import rank, Plan


def fit(train, catalog, *, folder, seed):
    commands = Path(folder) / f"{seed}"
    what = commands.read_text() if commands.exists() else ""
    if what == "error":
        raise ValueError("instructed to fail")
    if what == "memory once":
        commands.unlink()
        raise MemoryError("instructed to run out of memory")
    if what == "hang":
        time.sleep(600)
    if what == "ignore SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        commands.write_text(str(os.getpid()))
        time.sleep(600)
    if what == "name the device":
        with open(Path(folder) / "devices", "a") as file:
            file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}\\n")
    if what.startswith("kill"):
        commands.unlink() if "once" in what else None
        raylet = psutil.Process().parent()
        names = {"raylet": [raylet], "gcs_server": raylet.parent().children()}
        for process in names.get(what.split()[1], raylet.children()):
            words = " ".join([process.name(), *process.cmdline()])
            if what.split()[1] in words.lower() and process.pid != os.getpid():
                process.kill()
        time.sleep(60)
    if what == "nan":
        return lambda histories: np.full((len(histories), len(catalog)), np.nan)
    if what.startswith("die"):
        commands.unlink() if what == "die once" else None
        os.kill(os.getpid(), signal.SIGKILL)
    return lambda histories: np.tile(np.arange(len(catalog), 0.0, -1), (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Does what a file says."""
    folder: str = ""
    def plan(self, data, model, seed):
        settings = {"folder": self.folder, "seed": seed}
        scorer = "scripted:fit"
        return Plan(ranking=rank(data.test, scorer=scorer, train=data.train, settings=settings))
'''


def install_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the method known; return the folder where its commands go, one file a seed."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "scripted.py").write_text(SCRIPTED)
    monkeypatch.setenv("BENCH_PATH", str(plugins))
    (folder / "commands").mkdir()
    return folder / "commands"


def plan_trials(
    commands: Path | None = None, seeds: int = 2, rows: tuple[str, ...] = ()
) -> list[Trial]:
    lines = [BoardRow(method=name) for name in rows]
    if commands is not None:
        lines.append(BoardRow(method="scripted", settings={"folder": str(commands)}))
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


def run_trials(
    folder: Path,
    todo: list[Trial],
    executor: Callable[[], Executor],
    time_limit: float | None = None,
) -> RunSummary:
    options = RunOptions(
        store=Store(folder / "store"),
        results=folder / "results",
        quiet=True,
        time_limit=time_limit,
    )
    return run(todo, options=options, executor=executor)


def list_artifacts(folder: Path) -> set[str]:
    """Return the keys of what is complete in a working folder's store."""
    return {path.parent.name for path in folder.glob(".bench/store/[a-z]*/*/meta.json")}


def call_json(folder: Path, *words: str) -> Any:
    """Run a command with --json in a folder, in this process; return what it prints."""
    folder.mkdir(exist_ok=True)
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def start_cluster(**head: Any) -> Any:
    """Start the head node of a Ray cluster, which `shutdown` ends.

    Ray gives up a node that is not there after 30 s, as on an overloaded machine.
    """
    from ray.cluster_utils import Cluster

    options = {"include_dashboard": False, **head}
    for _ in range(2):
        with contextlib.suppress(Exception):
            return Cluster(initialize_head=True, head_node_args=options)
    return Cluster(initialize_head=True, head_node_args=options)
