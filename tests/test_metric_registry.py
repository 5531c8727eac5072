"""The registry of metrics: names, what the objects declare, plug-ins."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.cli.app import app
from bench.config.cards import BoardCard, BoardRow
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.metrics.metric import Metric
from bench.metrics.registry import (
    BUILT_IN,
    broken_plugins,
    get_metric,
    list_metrics,
    plugin_metrics,
)
from bench.plan.trials import Board, Trial, board_trials, collect_ks

METRIC_FILE = """
import numpy as np
from bench.api import Metric

METRIC = Metric(
    family="{family}",
    title="first rank",
    description="Whether the target is first.",
    higher_is_better=True,
    score_cases=lambda cases, k: (cases.ranks == 0).astype(float),
)
"""


def test_names_are_frozen() -> None:
    names = {metric.at(5 if metric.takes_k else None, "drama" if metric.takes_category else None)
             .name for metric in BUILT_IN}  # fmt: skip
    assert names == {
        "HR@5", "NDCG@5", "DivRatio@5", "ORRatio@5", "MGU@5", "DGU@5", "GU[drama]@5", "Coverage@5",
        "Gini@5", "Hallucination", "MAP@5", "MAPstd@5", "CLICK@5", "ListCap",
    }  # fmt: skip


def test_what_the_objects_declare() -> None:
    declared = {metric.family: metric for metric in list_metrics()}

    def families(attribute: str) -> set[str]:
        return {family for family, metric in declared.items() if getattr(metric, attribute)}

    lists = {"MAP", "MAPstd", "CLICK", "ListCap"}
    assert families("higher_is_better") == {"HR", "NDCG", "DivRatio", "Coverage"} | lists
    assert families("per_case") == {"HR", "NDCG", "Hallucination"} | lists
    assert families("of_lists") == lists | {"NDCG"}
    assert families("of_rankings") == declared.keys() - lists
    assert families("needs_catalog") == {"Hallucination", "Coverage", "Gini"}
    assert families("needs_categories") == {"MGU", "DGU", "GU"}
    assert [get_metric(name).upper_bound for name in ("HR@5", "DGU@5", "CLICK@5")] == [1, 2, 5]


@given(st.integers(1, 10**6), st.text(min_size=1))
def test_every_name_is_read_back(k: int, category: str) -> None:
    for name in (f"ORRatio@{k}", f"GU[{category}]@{k}", "Hallucination"):
        assert get_metric(name).name == name
        assert get_metric(name) == get_metric(name)


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("NDGC@5", "no metric named 'NDGC@5'", "Did you mean 'NDCG@5'?"),
        ("ndcg@10", "no metric named 'ndcg@10'", "Known: NDCG@10."),
        ("Halucination", "no metric named", "Did you mean 'Hallucination'?"),
        ("", "no metric named ''", "Known: "),
        ("HR", "'HR' does not say how long the lists are", "e.g. HR@5"),
        ("HR@0", "The k of 'HR@0' is not a positive integer", "digits"),
        ("HR@05", "The k of 'HR@05' is not", "digits"),
        ("HR@-1", "The k of 'HR@-1' is not", "digits"),
        ("HR@٥", "The k of 'HR@٥' is not", "digits"),
        ("Hallucination@5", "Hallucination takes no k", "Write Hallucination."),
        ("ListCap@5", "ListCap takes no k", "Write ListCap."),
        ("GU@5", "'GU@5' names no category", "e.g. GU[drama]@5"),
        ("GU[]@5", "'GU[]@5' names no category", "category"),
        ("HR[drama]@5", "HR covers all categories and takes none in brackets", "Only GU"),
    ],
)
def test_invalid_names_are_refused(name: str, sentence: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        get_metric(name)
    assert sentence in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one kind of scoring function"),
        ({"family": "HR@5", "score_cases": len}, "cannot be the name"),
        ({"score_cases": len, "score_counts": len}, "exactly one kind"),
        ({"score_masses": len, "takes_k": False}, "must take a k"),
    ],
)
def test_a_contradictory_metric_is_refused(fields: dict[str, object], message: str) -> None:
    values = {"family": "X", "title": "x", "description": "X.", "higher_is_better": True}
    with pytest.raises(BenchError, match=message):
        Metric(**(values | fields))  # type: ignore[arg-type]


# --- plug-ins -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    (tmp_path / "metrics").mkdir()
    return tmp_path


def test_a_plug_in_is_found_by_its_family(folder: Path) -> None:
    (folder / "metrics" / "first.py").write_text(METRIC_FILE.format(family="First"))
    (folder / "other.py").write_text(METRIC_FILE.format(family="Other"))
    (folder / "method.py").write_text("class Method: ...\n")
    assert set(plugin_metrics()) == {"first", "other"}
    assert get_metric("First@5").name == "First@5"
    assert list_metrics()[-2:] == (plugin_metrics()["first"], plugin_metrics()["other"])
    with pytest.raises(BenchError) as caught:
        get_metric("Frist@5")
    assert caught.value.hint == "Did you mean 'First@5'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (METRIC_FILE.format(family="HR"), "taken by a built-in metric"),
        ("METRIC = 1\n", "METRIC is not a Metric"),
        ("METRIC = 1 / 0\n", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_broken_plug_in_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "metrics" / "broken.py").write_text(text)
    assert get_metric("HR@5").family == "HR"
    assert not plugin_metrics()
    assert list_metrics()[0].family == "HR"
    with pytest.raises(BenchError, match=message):
        get_metric("Unknown@5")


def test_a_name_belongs_to_one_plug_in(folder: Path) -> None:
    for module in ("one", "two"):
        (folder / "metrics" / f"{module}.py").write_text(METRIC_FILE.format(family="First"))
    assert set(plugin_metrics()) == {"one"}
    assert re.search(r"two\.py.*'First' is taken by .*one\.py", broken_plugins()["two"].message)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda labels, k: np.ones(1), "shape"),
        (lambda labels, k: labels[:, 0] / 0, "not finite"),
        (lambda labels, k: labels[:, 0] * 2, r"2, which is outside \[0, 1\]"),
        (lambda labels, k: -labels[:, 0], "-1, which is outside"),
    ],
)
def test_invalid_values_of_a_plug_in_are_refused(score: object, message: str) -> None:
    metric = Metric(
        family="X", title="x", description="X.", higher_is_better=True, score_labels=score,  # type: ignore[arg-type]
    )  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(BenchError, match=f"X@1.*{message}"):
        evaluate_lists(np.zeros((2, 3)), np.ones((2, 3), dtype=int), ks=[1], plugins=[metric])


def test_a_metric_may_have_no_bound() -> None:
    metric = Metric(
        family="X", title="x", description="X.", higher_is_better=False, maximum=math.inf,
        score_labels=lambda labels, k: labels[:, 0] * 1e9,
    )  # fmt: skip
    labels = np.ones((2, 3), dtype=int)
    scores = evaluate_lists(np.zeros((2, 3)), labels, ks=[1], plugins=[metric])
    assert scores.metrics["X@1"] == 1e9


# --- from `bench new` to a board's table ----------------------------------------------------------


def call(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


def plan_one() -> Trial:
    card = BoardCard(
        title="one",
        datasets=("synthetic",),
        rows=(BoardRow(method="popularity"),),
        metrics=("HR@5",),
        seeds=1,
        budget="smoke",
    )
    board = Board(name="one", card=card)
    ((_, trial),) = board_trials(board, ks=collect_ks([board]))
    return trial


def test_a_new_metric_becomes_a_column(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    path = folder / "metrics" / "my_novelty.py"
    assert "export" not in call("new", "metric", "my_novelty"), "the folder is on the path"
    assert f"export BENCH_PATH={folder / 'x'}:" in call("new", "metric", "n", "--into", "x/metrics")
    assert "FAIL" not in call("check", str(path))
    assert "MyNovelty@k" in call("list", "metrics")
    assert "new items" in call("show", "MyNovelty")
    board = """
        title = "Novelty"
        datasets = ["synthetic"]
        metrics = ["HR@5", "MyNovelty@5"]
        seeds = 1
        budget = "smoke"
        rows = [{ method = "popularity" }, { method = "random" }]
    """
    (folder / "novel.toml").write_text(board)
    call("run", "--board", "novel", "--executor", "inline")
    table = json.loads(call("report", "--board", "novel", "--json"))["boards"][0]
    values = {row["method"]: row["metrics"]["MyNovelty@5"]["mean"] for row in table["rows"]}
    assert 0 < values["popularity"] < values["random"] <= 1
    compared = json.loads(
        call("compare", "random", "popularity", "--metric", "MyNovelty@5", "--json")
    )
    assert compared["metrics"]["MyNovelty@5"]["question"] == "models"
    assert compared["metrics"]["MyNovelty@5"]["better"] is True


def test_the_code_of_a_plug_in_is_part_of_the_key(folder: Path) -> None:
    built_in = plan_one().evaluations["final"]
    assert not built_in.args["plugins"]
    path = folder / "metrics" / "first.py"
    path.write_text(METRIC_FILE.format(family="First"))
    stage = plan_one().evaluations["final"]
    assert list(stage.args["plugins"]) == ["metrics/first:METRIC"]
    path.write_text("# a comment\n" + METRIC_FILE.format(family="First"))
    assert plan_one().evaluations["final"].key == stage.key != built_in.key
    path.write_text(METRIC_FILE.format(family="First").replace("ranks == 0", "ranks == 1"))
    assert plan_one().evaluations["final"].key not in (stage.key, built_in.key)


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        ("lambda cases, k: 2.0 * (cases.ranks == 0)", "is outside"),
        ("lambda cases, k: np.arange(len(cases.ranks)) / 99", "another order"),
        ("lambda cases, k: np.zeros(1)", "shape"),
        ("lambda cases, k: cases.catalog.names", "AttributeError: .*'names' \\(wrong.py:10\\)"),
        (
            "lambda cases, k: np.full(40, len(cases.catalog.titles[0].split()))",
            "outside",
        ),
    ],
)
def test_the_contract_finds_mistakes(folder: Path, score: str, problem: str) -> None:
    text = METRIC_FILE.format(family="Wrong")
    path = folder / "metrics" / "wrong.py"
    path.write_text(text.replace("lambda cases, k: (cases.ranks == 0).astype(float)", score))
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 1
    assert re.search(problem, done.output)


def test_the_contract_of_a_set_level_metric(folder: Path) -> None:
    text = """
from bench.api import Metric

METRIC = Metric(
    family="Top",
    title="share of the most frequent item",
    description="Fraction of recommendations that the most frequent item takes.",
    higher_is_better=False,
    score_counts=lambda lists: lists.counts.max() / lists.num_slots,
)
"""
    path = folder / "metrics" / "top.py"
    path.write_text(text)
    assert "several sets at once" in CliRunner().invoke(app, ["check", str(path)]).output
    path.write_text(text.replace("max()", "max(axis=-1)"))
    assert "FAIL" not in call("check", str(path))
