"""Scoring by title: items of one title hit for one another and take one place of a list."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stage_runs import run_stage

from bench.config import plugins
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.ranking import LIST_ENDS, Ranking
from bench.errors import BenchError
from bench.hashing import Job
from bench.metrics.evaluate import evaluate
from bench.metrics.titles import Cases, merge_titles
from bench.models.lm.encode.grounding import ground
from bench.plan.item_stages import EvaluateConfig, RankConfig
from bench.plan.trials import Board, board_trials
from bench.results.ranking_file import read_ranking, write_ranking
from bench.results.score_file import RankedCase, RankingFile, score_ranking
from bench.stages import rank

TITLES = ("Help!", "Let It Be", "Help!", " Let  It Be", "", "")
CATEGORIES = (("rock",), ("rock",), ("pop",), (), ("pop",), ())
CATALOG = Catalog(
    ids=tuple("ABCDEF"), titles=TITLES, categories=CATEGORIES, tracked=("rock", "pop")
)


def cases(items: list[list[int]], targets: list[int]) -> Cases:
    return Cases(
        Ranking(
            items=np.array(items, dtype=np.int32),
            scores=-np.arange(np.size(items), dtype=np.float64).reshape(np.shape(items)),
        ),
        np.array(targets),
        np.array([[0, 2, -1]] * len(items)),
        CATALOG,
    )


def test_lists_targets_and_histories_become_titles() -> None:
    merged = merge_titles(cases([[2, 0, 3, 5], [-1, 3, 1, -1], [0, 0, 2, 4]], [0, 1, -1]))
    # An item's own repetition stays: it is the list's, not the catalog's.
    ends = LIST_ENDS
    assert merged.ranking.items.tolist() == [[0, 1, 3, ends], [-1, 1, -1, ends], [0, 0, 2, ends]]
    assert merged.ranking.scores is not None
    assert merged.ranking.scores[0, :3].tolist() == [0, -2, -3]
    assert merged.targets.tolist() == [0, 1, -1]
    assert merged.histories.tolist() == [[0, 0, -1]] * 3
    assert merged.catalog.ids == tuple("ABEF")
    assert merged.catalog.categories == (("rock", "pop"), ("rock",), ("pop",), ())


def test_the_other_item_of_the_title_is_a_hit() -> None:
    recommended = cases([[0, 1], [1, 4]], [2, 3])
    assert evaluate(**recommended._asdict(), ks=[1]).metrics["HR@1"] == 0
    metrics = evaluate(**merge_titles(recommended)._asdict(), ks=[1]).metrics
    assert (metrics["HR@1"], metrics["NDCG@1"]) == (1, 1)
    twins = evaluate(**merge_titles(cases([[0, 1], [2, 1]], [4, 4]))._asdict(), ks=[1]).metrics
    assert twins["DivRatio@1"] == 0.5  # two items of one title
    assert twins["Coverage@1"] == 0.25  # of four titles


@given(st.lists(st.permutations(range(8)), min_size=1, max_size=5), st.data())
def test_it_is_the_evaluation_of_a_catalog_without_twins(
    lists: list[list[int]], data: st.DataObject
) -> None:
    targets = np.array([data.draw(st.integers(0, 7)) for _ in lists])
    items = np.array(lists, dtype=np.int32)
    titles = tuple("abcdabcd")
    twins = Catalog(ids=tuple("01234567"), titles=titles, categories=((),) * 8)
    plain = Catalog(ids=tuple("0123"), titles=titles[:4], categories=((),) * 4)
    distinct = np.array([[*dict.fromkeys(row)] for row in (items % 4).tolist()], dtype=np.int32)
    histories = items[:, :3]
    by_title = merge_titles(Cases(Ranking(items=items), targets, histories, twins))
    expected = Cases(Ranking(items=distinct), targets % 4, histories % 4, plain)
    scores = [evaluate(**each._asdict(), ks=[1, 3, 4]).metrics for each in (by_title, expected)]
    assert scores[0] == scores[1]


def test_files_are_scored_by_title_unless_told_otherwise() -> None:
    case = RankedCase(case="1", user="u", history=(), target="C", items=("A", "C"))
    file = RankingFile(cases=(case,), locations=("Line 1",))
    assert score_ranking(file, CATALOG, (1,))["HR@1"] == 1
    by_item = score_ranking(file, CATALOG, (1, 2), group_titles=False)
    assert (by_item["HR@1"], by_item["HR@2"]) == (0, 1)
    with pytest.raises(BenchError, match="1 titles, but k is 2"):
        score_ranking(file, CATALOG, (2,))


def write_case(root: Path) -> None:
    """Two samples of one user: the target of the case is item 2, that of the training row 1."""
    source = prepared.Prepared(
        catalog=CATALOG,
        user_ids=("u",),
        users=np.zeros(3, dtype=np.int32),
        items=np.array([0, 1, 2], dtype=np.int32),
        ratings=np.ones(3, dtype=np.float32),
        times=np.arange(3),
        start=np.zeros(2, dtype=np.int64),
        target=np.array([1, 2]),
        boundaries=(1, 1),
        history=3,
    )
    for name, rows in (("data", None), ("cases", [1]), ("train", [0]), ("ranking", None)):
        (root / name).mkdir()
        if rows:
            prepared.write_rows(np.array(rows), root / name)
    prepared.write(source, root / "data")
    write_ranking(Ranking(items=np.array([[0, 2, 1]], dtype=np.int32)), root / "ranking")


@pytest.mark.parametrize(
    ("group", "rate", "items", "ids"), [(True, 1, 4, ["A", "B"]), (False, 0, 6, ["A", "C"])]
)
def test_results_hold_titles(
    tmp_path: Path, group: bool, rate: float, items: int, ids: list[str]
) -> None:
    write_case(tmp_path)
    inputs = {name: tmp_path / name for name in ("data", "cases", "ranking")}
    out = tmp_path / "out"
    run_stage("evaluate", EvaluateConfig, out, ks=(1, 2), group_titles=group, **inputs)
    evaluation = json.loads((out / "evaluation.json").read_text())["evaluation"]
    assert evaluation["metrics"]["HR@1"] == rate
    assert (evaluation["num_items"], evaluation["num_ids"]) == (items, 6)
    assert pq.read_table(out / "ranking.parquet")["items"].to_pylist() == [ids]


def test_only_candidates_are_ranked(tmp_path: Path) -> None:
    write_case(tmp_path)
    inputs = {name: tmp_path / name for name in ("data", "cases", "train")}
    config = RankConfig(scorer="popularity:fit", settings={}, depth=3, threads=1)
    for more, items in (({}, [1, 0, 2]), ({"candidates": tmp_path / "train"}, [1])):
        (out := tmp_path / f"out{len(more)}").mkdir()
        rank.run(Job(out=out), config, inputs | more)
        assert read_ranking(out).items.tolist() == [items]


def test_a_target_outside_the_catalog_is_no_candidate(tmp_path: Path) -> None:
    write_case(tmp_path)
    source = prepared.load(tmp_path / "data")
    source = dataclasses.replace(source, items=np.array([0, -1, 2], dtype=np.int32))
    prepared.write_rows(np.array([0, 1]), tmp_path / "train")
    assert source.candidates({"candidates": tmp_path / "train"}).nonzero()[0].tolist() == [2]


def plan_rows(board: str, labels: set[str]) -> list[set[str]]:
    """Keys of all stages of a board's rows on its first data set and seed."""
    card = plugins.board_card(board)
    card = card.model_copy(
        update={
            "rows": tuple(row for row in card.rows if row.name in labels),
            "datasets": card.datasets[:1],
            "seeds": 1,
        }
    )

    def keys(stage: object) -> set[str]:
        return {stage.key}.union(*map(keys, stage.inputs.values()))  # type: ignore[attr-defined]

    planned = board_trials(Board(name=board, card=card), ks=(5, 10))
    assert not [trial.problem for _, trial in planned if trial.problem]
    return [keys(trial.evaluations["final"]) for _, trial in planned]


def test_the_ablation_without_both_is_the_base_method() -> None:
    (without_both,) = plan_rows("igd-table2", {"w/o both"})
    (d3,) = plan_rows("igd-table1", {"D3"})
    assert without_both == d3


def test_boards_differ_by_their_protocol() -> None:
    card = plugins.board_card("igd-table1")
    card = card.model_copy(update={"rows": card.rows[:1], "datasets": card.datasets[:1]})
    ids = {
        board_trials(Board(name="b", card=each), ks=(5,))[0][1].id
        for each in (
            card,
            card.model_copy(update={"candidates": "catalog"}),
            card.model_copy(update={"group_titles": False}),
        )
    }
    assert len(ids) == 3


def test_every_row_has_the_boards_candidates() -> None:
    card = plugins.board_card("igd-table1").model_copy(update={"seeds": 1})
    kinds = set()
    for _, trial in board_trials(Board(name="igd-table1", card=card), ks=(5,)):
        ranking = trial.evaluations["final"].inputs["ranking"]
        ranking = ranking.inputs.get("test_0", ranking)
        assert "candidates" in ranking.inputs, trial.method
        kinds.add(ranking.kind)
    assert kinds == {"rank", "decode"}


class Lengths:
    """Encodes a text by its length."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_only_candidates_are_grounded() -> None:
    titles = ["a", "bb", "ccc", "dddd"]
    allowed = np.array([True, False, False, True])
    ranking = ground(["bb"], titles, Lengths(), 2, candidates_I=allowed)
    assert ranking.items.tolist() == [[0, 3]]
    assert ground(["bb"], titles, Lengths(), 2).items.tolist() == [[1, 0]]
