"""Choosing a ranking on validation: the best candidate's test ranking is what a plan ends in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stage_runs import make_config

from bench.config.cards import BoardCard, BoardRow
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan.graph import build_graph
from bench.plan.item_stages import DrawConfig, PrepareConfig, draw_rows, prepare_data
from bench.plan.selection import SelectConfig, select_ranking
from bench.plan.stage import Stage
from bench.plan.trials import Board, board_trials
from bench.results.ranking_file import read_ranking, write_ranking
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.store import Store
from bench.stages import select

VALID = np.array([2, 3])  # their targets are the items 3 and 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    places = np.arange(7)
    source = prepared.Prepared(
        catalog=Catalog(
            ids=tuple("ABCDE"),
            titles=tuple("abcde"),
            categories=(("x",), ("x",), ("y",), ("y",), ()),
            tracked=("x", "y"),
        ),
        user_ids=("u",),
        users=np.zeros(7, dtype=np.int32),
        items=(places % 5).astype(np.int32),
        ratings=np.ones(7, dtype=np.float32),
        times=places,
        start=np.zeros(6, dtype=np.int64),
        target=places[1:],
        boundaries=(2, 4),
        history=6,
    )
    for name in ("data", "cases", "out"):
        (tmp_path / name).mkdir()
    prepared.write(source, tmp_path / "data")
    prepared.write_rows(VALID, tmp_path / "cases")
    return tmp_path


def ranking(root: Path, name: str, lists: list[list[int]]) -> Path:
    folder = root / name
    folder.mkdir()
    write_ranking(Ranking(items=np.array(lists, dtype=np.int32)), folder)
    return folder


def chosen(root: Path, metric: str, candidates: dict[str, list[list[int]]]) -> Job:
    """Choose among validation rankings; the n-th candidate's test ranking begins with item n."""
    job = Job(out=root / "out")
    folders = {}
    for place, (name, lists) in enumerate(candidates.items()):
        folders[f"valid_{place}"] = ranking(root, f"valid {name}", lists)
        folders[f"test_{place}"] = ranking(root, f"test {name}", [[place, 4]])
    inputs = {"data": root / "data", "cases": root / "cases", **folders}
    select.run(job, SelectConfig(names=tuple(candidates), metric=metric, group_titles=True), inputs)
    return job


def test_the_best_on_validation_gives_its_test_ranking(root: Path) -> None:
    # Targets 3 and 4: "one" has one first; "both" has one first and one second.
    job = chosen(root, "NDCG@2", {"one": [[3, 0], [0, 1]], "both": [[3, 0], [0, 4]]})
    content = json.loads((root / "out" / "choice.json").read_text())
    assert content["chosen"] == job.metadata["chosen"] == "both"
    assert content["validation"] == pytest.approx({"one": 0.5, "both": (1 + 0.63093) / 2}, abs=1e-5)
    assert read_ranking(root / "out").items.tolist() == [[1, 4]]
    assert job.metadata["validation"] == content["validation"]


def test_of_equal_candidates_the_first_is_taken(root: Path) -> None:
    equal = [[3, 0], [0, 4]]
    job = chosen(root, "HR@2", {"b": equal, "a": equal})
    assert job.metadata["chosen"] == "b"


def test_where_lower_is_better_the_lowest_is_taken(root: Path) -> None:
    # One item for both cases is as unequal as can be; two items are less so.
    job = chosen(root, "Gini@1", {"same": [[3, 0], [3, 1]], "spread": [[3, 0], [1, 4]]})
    assert job.metadata["chosen"] == "spread"
    values = job.metadata["validation"]
    assert isinstance(values, dict)
    assert values["spread"] < values["same"]


def test_a_metric_that_the_data_have_not_is_refused(root: Path) -> None:
    with pytest.raises(BenchError, match=r"GU\[z\]@1"):
        chosen(root, "GU[z]@1", {"a": [[3, 0], [0, 4]]})


def test_a_list_shorter_than_the_metric_asks_is_refused(root: Path) -> None:
    with pytest.raises(BenchError, match="case 0 has 2 items, fewer than k=5"):
        chosen(root, "HR@5", {"a": [[3, 0], [0, 4]]})


def stages(names: str) -> dict[str, Stage]:
    return {name: Stage(kind="rank", config=make_config(scorer=name)) for name in names}


def test_the_key_holds_candidates_their_order_and_the_metric() -> None:
    data = prepare_data(PrepareConfig(name="d", card={}, checksums={}))
    rows = draw_rows(data, DrawConfig(split="valid", num=4, seed=0))
    ab, ba = stages("ab"), dict(reversed(stages("ab").items()))
    one = select_ranking(ab, ab, rows, metric="NDCG@5")
    assert one.key == select_ranking(ab, ab, rows, metric="NDCG@5").key
    assert one.key != select_ranking(ba, ba, rows, metric="NDCG@5").key  # ties go to the first
    assert one.key != select_ranking(ab, ab, rows, metric="HR@5").key
    assert one.inputs["cases"] is rows.stage
    with pytest.raises(BenchError, match="ndcg@5"):
        select_ranking(ab, ab, rows, metric="ndcg@5")


CHOOSER = '''
from dataclasses import dataclass

import numpy as np

from bench.api import Plan, rank, select_ranking


def fit(train, catalog, *, power):
    counts = np.bincount(train.targets[train.targets >= 0], minlength=len(catalog))
    return lambda histories: np.tile((1.0 + counts) ** power, (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Chooser: takes the power of popularity from validation, or as it is given."""

    powers: tuple[float, ...] = (-1.0, 1.0)

    def plan(self, data, model, seed):
        on = [
            {f"{power:g}": rank(rows, scorer="chooser:fit", train=data.train,
                                settings={"power": power}) for power in self.powers}
            for rows in (data.valid, data.test)
        ]
        if len(self.powers) == 1:
            return Plan(ranking=next(iter(on[1].values())))
        return Plan(ranking=select_ranking(*on, data.valid, metric="NDCG@5"))
'''


def test_a_plan_that_chooses_equals_the_plan_of_what_it_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chooser.py").write_text(CHOOSER)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    rows = [
        BoardRow(method="chooser"),
        BoardRow(method="chooser", label="popular", settings={"powers": [1.0]}),
        BoardRow(method="chooser", label="unpopular", settings={"powers": [-1.0]}),
    ]
    card = BoardCard(
        title="T", datasets=("synthetic",), rows=tuple(rows), metrics=("NDCG@5",), seeds=1,
        budget="smoke",
    )  # fmt: skip
    trials = [trial for _, trial in board_trials(Board(name="t", card=card), ks=(5,))]
    assert [trial.problem for trial in trials] == [""] * 3
    options = RunOptions(store=Store(tmp_path / "s"), results=tmp_path / "r", quiet=True)
    assert run(trials, options=options, executor=InlineExecutor).exit_code == 0
    found = [find_result(tmp_path / "r", trial.id) for trial in trials]
    assert all(found)
    chosen, popular, unpopular = (result.evaluations["final"].metrics for result in found if result)
    assert chosen == popular != unpopular
    (choice,) = [
        stage.metadata for stage in (found[0].stages if found[0] else []) if stage.kind == "select"
    ]
    assert choice["chosen"] == "1"
    # The choice reads validation cases; test cases enter by the candidates' rankings alone.
    graph = build_graph(trials[:1])
    (stage,) = [one for one in graph.stages.values() if one.kind == "select"]
    assert stage.inputs["cases"].args["split"] == "valid"
