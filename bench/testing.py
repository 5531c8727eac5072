"""The contracts of methods and metrics, as checks that run in seconds on generated data."""

from __future__ import annotations

import ast
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow
from bench.data import prepared, prepared_lists
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.errors import BenchError, describe_exception
from bench.hashing import Job
from bench.metrics.evaluate import evaluate, evaluate_lists
from bench.metrics.metric import CategoryMass, ItemCounts, Metric
from bench.metrics.registry import broken_plugins, get_metric, plugin_metrics
from bench.plan.graph import build_graph
from bench.plan.item_stages import RankConfig
from bench.plan.stage import Stage
from bench.plan.trials import Board, Trial, board_trials, get_task
from bench.report.claims.cards import PaperClaims
from bench.report.claims.published_values import judge_published
from bench.report.published import load_published
from bench.results.ranking_file import read_ranking
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, RunSummary, run
from bench.runner.store import Store
from bench.stages import rank as rank_stage

DATASETS = {"next-item": "synthetic", "rerank": "synthetic-rated"}
BUDGET = "smoke"
MISSING_HERE = "not run:"
"""Begins the problem of a row that needs an endpoint or files which this machine lacks."""
MODEL = "tiny"
ALLOWED_IMPORT = "bench.api"
PAUSE_SECONDS = 1.1
"""So that noise seeded by the time in seconds differs between the runs."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule of the contract, and the problem, empty if there is none."""

    rule: str
    problem: str = ""


def check_method(name: str, workspace: Path) -> list[Check]:
    """Check a method by name in an empty folder, up to the first broken rule."""
    trials: list[Trial] = []
    first = workspace / "first"
    rules: list[tuple[str, Callable[[], str]]] = [
        ("it is a frozen dataclass named Method with a plan()",
         partial(_find_loading_problem, name)),
        ("every setting has a default, and the docstring says what it is",
         partial(_find_docstring_problem, name)),
        ("it imports nothing of bench but bench.api", partial(_find_import_problem, name)),
        ("plan() is a pure function of plain values", partial(_find_plan_problem, name, trials)),
        ("it runs, and its ranking is complete", partial(_find_run_problem, trials, first)),
        ("a second run recomputes nothing", partial(_find_resume_problem, trials, first)),
        ("the same seed gives the same ranking, whatever the test targets are",
         partial(_find_seed_problem, trials, workspace)),
        ("a case's scores do not depend on the other cases",
         partial(_find_case_problem, trials, workspace)),
    ]  # fmt: skip
    return _run_rules(rules)


def check_metric(path: Path) -> list[Check]:
    """Check a metric's module, which must be on $BENCH_PATH, on random rankings and lists."""
    rules: list[tuple[str, Callable[[], str]]] = [
        ("it defines METRIC with a unique name", partial(_find_metric_problem, path)),
        ("it imports nothing of bench but bench.api", partial(_check_imports, path)),
        ("it gives every case or set a finite number in its bounds",
         partial(_find_bound_problem, path)),
        ("the order of the cases does not matter", partial(_find_order_problem, path)),
        ("many sets of lists at once have the values of each alone",
         partial(_find_batch_problem, path)),
    ]  # fmt: skip
    return _run_rules(rules)


def check_board(name: str, card: BoardCard) -> list[Check]:
    """Check that every trial of a board can be planned."""
    board = Board(name=name, card=card)

    def find_problem() -> str:
        for row, trial in board_trials(board):
            if trial.problem and not trial.problem.startswith(MISSING_HERE):
                return f"{row.name} on {trial.dataset}: {trial.problem}"
        return ""

    rule = "methods, settings, models, data sets, budget and every k exist, and rows can be planned"
    return _run_rules([(rule, find_problem)])


def check_claims(claims: PaperClaims) -> list[Check]:
    """Check that the verdicts and counts of claims are those of the printed numbers."""
    published = load_published()

    def find_problem() -> str:
        for claim in claims.claims:
            judged = judge_published(claim, claims, published)
            if judged.verdict != claim.verdict:
                return f"{claim.id}: the printed numbers say {judged.verdict!r}."
            for each in (*judged.checks, *judged.also):
                counts = each.count or "nothing", each.check.printed or "nothing"
                if counts[0] != counts[1]:
                    return f"{claim.id}: {counts[0]} is printed, not {counts[1]}."
        return ""

    return _run_rules([("verdicts and counts are those of the printed numbers", find_problem)])


def _run_rules(rules: Sequence[tuple[str, Callable[[], str]]]) -> list[Check]:
    """Check rules in order, up to the first broken one."""
    checks: list[Check] = []
    for rule, find_problem in rules:
        try:
            problem = find_problem()
        except BenchError as error:
            problem = f"{error.message} {error.hint}".strip()
        except Exception as error:
            problem = describe_exception(error)
        checks.append(Check(rule=rule, problem=problem))
        if problem:
            break
    return checks


def _find_loading_problem(name: str) -> str:
    plugins.method_class(name)
    return ""


def _find_docstring_problem(name: str) -> str:
    cls = plugins.method_class(name)
    bare = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if bare:
        return f"The setting {bare[0]!r} has no default."
    # A dataclass without a docstring has its signature as docstring.
    docstring = (cls.__doc__ or "").strip()
    return "" if docstring and not docstring.startswith("Method(") else "Method has no docstring."


def _find_import_problem(name: str) -> str:
    path = plugins.method_module(name).__file__
    assert path is not None
    return _check_imports(Path(path))


def _check_imports(path: Path) -> str:
    for imported in _list_imports(ast.parse(path.read_bytes())):
        if imported.split(".")[0] == "bench" and imported != ALLOWED_IMPORT:
            return f"It imports {imported}."
    return ""


def _list_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def plan_trials(name: str) -> list[Trial]:
    """Plan two seeds of a method on the generated data set of its task."""
    card = BoardCard(
        title=name,
        datasets=(DATASETS[get_task(name)],),
        rows=(BoardRow(method=name),),
        metrics=("NDCG@5",),
        seeds=2,
        model=MODEL,
        budget=BUDGET,
    )
    board = Board(name=name, card=card)
    return [trial for _, trial in board_trials(board)]


def _find_plan_problem(name: str, trials: list[Trial]) -> str:
    first, second = plan_trials(name), plan_trials(name)
    for trial in first:
        if trial.problem:
            return trial.problem
    if list(build_graph(first).stages) != list(build_graph(second).stages):
        return "Two calls with the same arguments gave different stages."
    trials.extend(first)
    return ""


def _run(trials: list[Trial], folder: Path) -> RunSummary:
    options = RunOptions(store=Store(folder / "store"), results=folder / "results", quiet=True)
    return run(trials, options=options, executor=InlineExecutor)


def _find_run_problem(trials: list[Trial], folder: Path) -> str:
    summary = _run(trials, folder)
    for reasons in (summary.failed, summary.skipped):
        for reason in reasons.values():
            return reason
    store = Store(folder / "store")
    for trial in trials:
        inputs = trial.evaluations["final"].inputs
        output = _read_output(store, trial.evaluations["final"])
        if "scores" in inputs:
            lists = _load_lists(store, inputs["lists"])
            rows, _ = lists.read_scores(_open(store, inputs["scores"]), "test")
            if not np.array_equal(rows, lists.rows("test")):
                return "It did not score every test list once."
            if not np.isfinite(output).all():
                return "A position of a list has no finite score."
            continue
        sorted_items = np.sort(output, axis=1)
        if ((sorted_items[:, 1:] == sorted_items[:, :-1]) & (sorted_items[:, 1:] >= 0)).any():
            return "A list holds an item twice."
    return ""


def _open(store: Store, stage: Stage) -> Path:
    return store.open(stage.kind, stage.key)


def _load_lists(store: Store, stage: Stage) -> prepared_lists.PreparedLists:
    return prepared_lists.read(_open(store, stage))


def _read_output(store: Store, evaluation: Stage) -> NDArray[Any]:
    """Read what is evaluated: the items of a ranking, or the scores of lists."""
    inputs = evaluation.inputs
    if "scores" in inputs:
        lists = _load_lists(store, inputs["lists"])
        return lists.read_scores(_open(store, inputs["scores"]), "test")[1]
    return read_ranking(_open(store, inputs["ranking"])).items


def _find_resume_problem(trials: list[Trial], folder: Path) -> str:
    ran = _run(trials, folder).stages_run
    return f"{ran} stages ran again." if ran else ""


def _find_case_problem(trials: list[Trial], workspace: Path) -> str:
    """Rank the cases one by one: the history of a later case may hold an earlier one's target."""
    store, stages = Store(workspace / "first" / "store"), build_graph(trials).stages.values()
    for stage in (stage for stage in stages if stage.kind == "rank"):
        assert isinstance(stage.config, RankConfig)
        job = Job(out=workspace / f"one-by-one-{stage.key}")
        job.out.mkdir()
        inputs = {name: _open(store, source) for name, source in stage.inputs.items()}
        rank_stage.run(job, stage.config, inputs, chunk_size=1)
        alone, together = (read_ranking(path).scores for path in (job.out, _open(store, stage)))
        assert alone is not None
        assert together is not None
        if not np.allclose(alone, together, rtol=1e-3, atol=1e-5):
            return "Scored one by one, the cases have other scores than scored together."
    return ""


def _find_seed_problem(trials: list[Trial], workspace: Path) -> str:
    """Run again, seconds later and with other test targets, and compare the rankings."""
    time.sleep(PAUSE_SECONDS)
    _change_targets(trials, Store(workspace / "first" / "store"), Store(workspace / "other/store"))
    changed = _find_other_seed(trials, workspace, "other")
    if changed is None:
        return ""
    repeated = _find_other_seed(trials, workspace, "second")
    if repeated is not None:
        return f"Seed {repeated} gave another ranking the second time."
    return f"With other test targets, seed {changed} gave another ranking: the method sees them."


def _find_other_seed(trials: list[Trial], workspace: Path, folder: str) -> int | None:
    """Run in a folder; return the seed of the first trial whose rankings differ from the first."""
    _run(trials, workspace / folder)
    first, second = (Store(workspace / name / "store") for name in ("first", folder))
    for trial in trials:
        for evaluation in trial.evaluations.values():
            if not np.array_equal(
                _read_output(first, evaluation), _read_output(second, evaluation)
            ):
                return trial.seed
    return None


def _change_targets(trials: list[Trial], source: Store, target: Store) -> None:
    """Copy the prepared data, with other targets of test cases and other labels of test lists."""
    for stage in build_graph(trials).stages.values():
        if stage.kind not in ("prepare", "lists"):
            continue
        meta = source.meta(stage.kind, stage.key)
        assert meta is not None
        with target.building(stage.kind, stage.key) as folder:
            if stage.kind == "lists":
                lists = _load_lists(source, stage)
                labels = lists.labels.copy()
                labels[lists.rows("test")] ^= 1
                prepared_lists.write(dataclasses.replace(lists, labels=labels), folder)
            else:
                data = prepared.read(_open(source, stage))
                seen = np.zeros(len(data.items), dtype=bool)
                for start, end in zip(data.start, data.target, strict=True):
                    seen[start:end] = True
                seen[data.target[: data.boundaries[1]]] = True
                items = np.where(seen, data.items, (data.items + 1) % len(data.catalog))
                changed = dataclasses.replace(data, items=items.astype(data.items.dtype))
                prepared.write(changed, folder)
            fields = {name: meta[name] for name in meta.keys() - {"kind", "key", "files"}}
            target.commit(stage.kind, stage.key, folder, fields)


# --- metrics ------------------------------------------------------------------------------------

NUM_CASES, NUM_ITEMS, K = 40, 12, 5


def _find_metric_problem(path: Path) -> str:
    if path.stem in broken_plugins():
        return broken_plugins()[path.stem].message
    return "" if path.stem in plugin_metrics() else f"{path} is not in a folder of $BENCH_PATH."


def _score(metric: Metric, order: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    """Score random rankings or lists, cases in this order; return values per case or per set."""
    rng = np.random.default_rng(0)
    numbers = rng.random((NUM_CASES, NUM_ITEMS))
    if not metric.of_rankings:
        labels = rng.integers(2, size=numbers.shape)
        lists = evaluate_lists(numbers[order], labels[order], ks=[1, K], plugins=[metric]).lists
        return {name: lists[name] for name in lists if get_metric(name).family == metric.family}
    names = tuple(f"The item {number}" for number in range(NUM_ITEMS))
    categories = tuple((("drama", "war")[number % 2],) for number in range(NUM_ITEMS))
    items = np.where(numbers < 0.1, -1, np.argsort(numbers, axis=1)).astype(np.int32)[:, :K]
    scores = evaluate(
        Ranking(items=items[order], texts=tuple(f"text {number}" for number in order)),
        targets=rng.integers(-1, NUM_ITEMS, size=NUM_CASES)[order],
        histories=rng.integers(-1, NUM_ITEMS, size=(NUM_CASES, 4))[order],
        catalog=Catalog(ids=names, titles=names, categories=categories, tracked=("drama", "war")),
        ks=[1, K],
        plugins=[metric],
    )
    values = {name: np.array(value) for name, value in scores.metrics.items()} | scores.cases
    return {name: values[name] for name in values if get_metric(name).family == metric.family}


def _find_bound_problem(path: Path) -> str:
    _score(plugin_metrics()[path.stem], np.arange(NUM_CASES))
    return ""


def _find_order_problem(path: Path) -> str:
    metric = plugin_metrics()[path.stem]
    order = np.random.default_rng(1).permutation(NUM_CASES)
    moved = _score(metric, order)
    for name, values in _score(metric, np.arange(NUM_CASES)).items():
        if not np.allclose(values[order] if values.ndim else values, moved[name]):
            return f"{name} has other values when the cases are in another order."
    return ""


def _find_batch_problem(path: Path) -> str:
    metric = plugin_metrics()[path.stem]
    counts = np.random.default_rng(2).integers(0, 9, size=(3, NUM_ITEMS))

    def score(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        if metric.score_masses:
            mass = counts.astype(np.float64)
            return metric.score_masses(CategoryMass(recommended=mass, history=np.ones(NUM_ITEMS)))
        assert metric.score_counts is not None
        sizes = counts.sum(axis=-1) / K
        return metric.score_counts(
            ItemCounts(counts=counts, num_lists=sizes, k=K, num_items=NUM_ITEMS)
        )

    if metric.per_case or np.allclose(score(counts), [score(row) for row in counts]):
        return ""
    return "Computed for several sets at once, shape (R, ...), the values differ."
