"""Rows that leave settings to validation, for rankings and for candidate lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow
from bench.data import prepared_lists
from bench.errors import BenchError
from bench.metrics.evaluate import evaluate_lists
from bench.plan.trials import Board, BoardSelection, Trial, board_trials
from bench.report.render.cell_details import _selections
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.store import Store


def plan(
    rows: list[BoardRow], budget: str = "paper", sets: tuple[str, ...] = (), **card: Any
) -> list[Trial]:
    board = BoardCard(
        title="T", datasets=("synthetic",), rows=tuple(rows), metrics=("NDCG@5",), seeds=1,
        budget=budget, model="tiny", **card,
    )  # fmt: skip
    one = Board(name="t", card=board)
    selection = BoardSelection(boards=(one,), settings=sets)
    return [trial for _, trial in board_trials(one, selection, ks=(5,))]


def final_kind(trial: Trial) -> str:
    assert not trial.problem
    inputs = trial.evaluations["final"].inputs
    return (inputs.get("ranking") or inputs["scores"]).kind


ROW = BoardRow(method="igd", select={"beta": [0.1, 1.0], "alpha": [0.0, 0.2]})


def test_every_combination_is_a_candidate() -> None:
    (trial,) = plan([ROW])
    select = trial.evaluations["final"].inputs["ranking"]
    assert len([name for name in select.inputs if name.startswith("valid_")]) == 4
    # Two trainings serve the four candidates, on validation and test cases alike.
    starts = {stage.inputs["start"].key for name, stage in select.inputs.items() if "_" in name}
    assert len(starts) == 2
    assert trial.settings["beta"] == "selected on validation by NDCG@5 from 0.1, 1.0"
    assert final_kind(trial) == "select"


def test_a_setting_that_is_fixed_is_not_selected() -> None:
    (trial,) = plan([ROW], sets=("alpha=0.3", "beta=0.5"))
    assert (trial.settings["alpha"], trial.settings["beta"]) == (0.3, 0.5)
    assert final_kind(trial) == "decode"
    (default,) = plan([ROW], budget="smoke")
    assert final_kind(default) == "decode"
    same = plan([ROW, BoardRow(method="igd", label="plain")], budget="paper")
    assert same[0].id != same[1].id


def test_a_boards_grid_is_for_all_rows_that_can_take_it() -> None:
    rows = [
        BoardRow(method="sasrec"),
        BoardRow(method="gru4rec", settings={"dropout": 0.3}),
        BoardRow(method="popularity"),
    ]
    trials = plan(rows, select={"dropout": [0.1, 0.5]})
    assert [final_kind(trial) for trial in trials] == ["select", "rank", "rank"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"settings": {"alpha": 0.1}, "select": {"alpha": [0.1]}}, "both sets and selects alpha"),
        ({"select": {"alpha": 0.1}}, "selects alpha from 0.1"),
        ({"select": {"alpha": []}}, "selects alpha from"),
        ({"select": {"alpha": [2.0]}}, "alpha"),
        ({"select": {"alhpa": [0.1]}}, "alhpa"),
    ],
)
def test_mistakes_in_select_are_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        plan([BoardRow(method="igd", **row)])


def test_two_rows_of_one_trial_are_refused() -> None:
    rows = [
        BoardRow(method="kar", label="ours"),
        BoardRow(method="kar", label="external", settings={"writer": "gpt"}),
    ]
    assert len(plan(rows)) == 2
    with pytest.raises(BenchError, match="'ours' and 'external' have the same"):
        plan(rows, sets=("writer=gpt",))


@pytest.mark.parametrize("budget", [None, "smoke", "nano"])
@pytest.mark.parametrize("name", sorted(plugins.card_paths("leaderboards")))
def test_no_board_has_two_rows_of_one_trial(name: str, budget: str | None) -> None:
    card = plugins.board_card(name)
    changed = {"datasets": card.datasets[:1], "seeds": 1, "budget": budget or card.budget}
    board_trials(Board(name=name, card=card.model_copy(update=changed)), ks=(5,))


def test_lists_are_selected_by_their_validation_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke = plugins.budget_card("smoke").model_copy(update={"select": True})
    monkeypatch.setattr(plugins, "budget_card", lambda name: smoke)
    row = BoardRow(method="prm", select={"reranker": {"learning_rate": [1e-6, 0.01]}})
    card = BoardCard(
        title="T", datasets=("synthetic-rated",), rows=(row,), metrics=("MAP@5",), seeds=1,
        budget="smoke", select_by="MAP@5",
    )  # fmt: skip
    ((_, trial),) = board_trials(Board(name="t", card=card), ks=(5,))
    assert final_kind(trial) == "select"
    store = Store(tmp_path / "s")
    options = RunOptions(store=store, results=tmp_path / "r", quiet=True)
    assert run([trial], options=options, executor=InlineExecutor).exit_code == 0
    select = trial.evaluations["final"].inputs["scores"]
    lists = prepared_lists.load(store.open("lists", select.inputs["lists"].key))

    def score(stage: Any, part: str) -> float:
        rows, scores = lists.read_scores(store.open(stage.kind, stage.key), part)
        assert rows.tolist() == lists.rows(part).tolist()
        return evaluate_lists(scores, lists.labels[rows], ks=[5]).metrics["MAP@5"]

    candidates = [select.inputs[f"test_{index}"] for index in range(2)]
    values = [score(candidate, "valid") for candidate in candidates]
    folder = store.open("select", select.key)
    choice = json.loads((folder / "choice.json").read_text())
    assert list(choice["validation"].values()) == values
    best = candidates[values.index(max(values))]
    result = find_result(tmp_path / "r", trial.id)
    assert result is not None
    assert result.evaluations["final"].metrics["MAP@5"] == score(best, "test")
    ((label, text),) = _selections([result])
    assert (label, text[:24]) == ("Selected on validation, seed 0", choice["chosen"][:24])
    values = [choice["validation"][choice["chosen"]], result.evaluations["final"].metrics["MAP@5"]]
    assert f"MAP@5 {values[0]:.4f} on validation, best of 2; {values[1]:.4f} on test" in text
    assert text.endswith(f"gap {values[1] - values[0]:+.4f}")
