"""The contract that every method keeps, as checks that run in seconds on generated data."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow
from bench.data import prepared_lists
from bench.errors import BenchError
from bench.plan.graph import build
from bench.plan.trials import Board, Trial, all_ks, board_trials
from bench.results.ranking_file import read_ranking
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import Options, Summary, run
from bench.runner.store import Store

DATASETS = {"next-item": "synthetic", "rerank": "synthetic-rated"}
PAIR = ("lists", "scores")
BUDGET = "smoke"
MODEL = "tiny"
ALLOWED_IMPORT = "bench.api"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule of the contract, and what is wrong; nothing, if it is kept."""

    rule: str
    problem: str = ""


def check_method(name: str, workspace: Path) -> list[Check]:
    """Check a method by name; a rule that cannot be tried any more is left out.

    Args:
        name: The method's name, as `bench list methods` shows it.
        workspace: An empty folder.
    """
    checks: list[Check] = []
    trials: list[Trial] = []
    rules: list[tuple[str, Callable[[], str]]] = [
        ("it is a frozen dataclass named Method with a plan()", lambda: _loads(name)),
        (
            "every setting has a default, and the docstring says what it is",
            lambda: _described(name),
        ),
        ("it imports nothing of bench but bench.api", lambda: _imports(name)),
        ("plan() is a pure function of plain values", lambda: _plans(name, trials)),
        ("it runs, and its ranking is whole", lambda: _runs(trials, workspace / "first")),
        ("a second run has nothing to do", lambda: _resumes(trials, workspace / "first")),
        ("the same seed gives the same metrics again", lambda: _repeats(trials, workspace)),
    ]
    for rule, tried in rules:
        try:
            problem = tried()
        except BenchError as error:
            problem = f"{error.message} {error.hint}".strip()
        checks.append(Check(rule=rule, problem=problem))
        if problem:
            break
    return checks


def _loads(name: str) -> str:
    plugins.method_class(name)
    return ""


def _described(name: str) -> str:
    cls = plugins.method_class(name)
    bare = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if bare:
        return f"The setting {bare[0]!r} has no default."
    # A dataclass without a docstring is given its signature as one.
    written = (cls.__doc__ or "").strip()
    return "" if written and not written.startswith("Method(") else "Method has no docstring."


def _imports(name: str) -> str:
    path = plugins.method_module(name).__file__
    assert path is not None
    for imported in _imported(ast.parse(Path(path).read_bytes())):
        if imported.split(".")[0] == "bench" and imported != ALLOWED_IMPORT:
            return f"It imports {imported}."
    return ""


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _task(name: str) -> str:
    return getattr(plugins.method_class(name), "TASK", "next-item")


def _planned(name: str) -> list[Trial]:
    card = BoardCard(
        title=name,
        datasets=(DATASETS[_task(name)],),
        rows=(BoardRow(method=name),),
        metrics=("NDCG@5",),
        seeds=2,
        model=MODEL,
        budget=BUDGET,
    )
    board = Board(name=name, card=card)
    return [trial for _, trial in board_trials(board, ks=all_ks([board]))]


def _plans(name: str, trials: list[Trial]) -> str:
    first, second = _planned(name), _planned(name)
    for trial in first:
        if trial.problem:
            return trial.problem
    if list(build(first).stages) != list(build(second).stages):
        return "Two calls with the same arguments gave different stages."
    trials.extend(first)
    return ""


def _run(trials: list[Trial], folder: Path) -> Summary:
    options = Options(store=Store(folder / "store"), results=folder / "results", quiet=True)
    return run(trials, options=options, executor=InlineExecutor)


def _runs(trials: list[Trial], folder: Path) -> str:
    summary = _run(trials, folder)
    for reasons in (summary.failed, summary.skipped):
        for reason in reasons.values():
            return reason
    store = Store(folder / "store")
    for trial in trials:
        inputs = trial.evaluations["final"].inputs
        if "scores" in inputs:
            source, given = (store.open(inputs[name].kind, inputs[name].key) for name in PAIR)
            rows, scores = prepared_lists.read_scores(given)
            if not np.array_equal(rows, prepared_lists.read(source).rows("test")):
                return "It did not score every test list once."
            if not np.isfinite(scores).all():
                return "A place of a list has no finite score."
            continue
        items = read_ranking(store.open(inputs["ranking"].kind, inputs["ranking"].key)).items
        listed = np.sort(items, axis=1)
        if ((listed[:, 1:] == listed[:, :-1]) & (listed[:, 1:] >= 0)).any():
            return "A list holds an item twice."
    return ""


def _resumes(trials: list[Trial], folder: Path) -> str:
    ran = _run(trials, folder).stages_run
    return f"{ran} stages ran again." if ran else ""


def _repeats(trials: list[Trial], workspace: Path) -> str:
    _run(trials, workspace / "second")
    for trial in trials:
        once = find_result(workspace / "first" / "results", trial.id)
        again = find_result(workspace / "second" / "results", trial.id)
        assert once is not None
        assert again is not None
        if once.evaluations != again.evaluations:
            return f"Seed {trial.seed} gave other metrics the second time."
    return ""
