from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.cards import BoardCard, BoardRow, RowCounts
from bench.config.settings import overrides_for, resolve_settings
from bench.config.toml import parse_override
from bench.errors import BenchError
from bench.plan.graph import build_graph
from bench.plan.trials import Board, BoardSelection, Trial, board_trials, collect_ks


def board(*rows: BoardRow, **changes: object) -> Board:
    content = {
        "title": "T",
        "datasets": ("synthetic",),
        "rows": rows,
        "metrics": ("NDCG@5",),
        "seeds": 1,
        "budget": "smoke",
    }
    return Board(name="t", card=BoardCard(**content | changes))


def plan(one: Board, *settings: str, rows: RowCounts | None = None) -> list[Trial]:
    selection = BoardSelection(boards=(one,), settings=settings, rows=rows or RowCounts())
    return [trial for _, trial in board_trials(one, selection)]


def test_a_later_source_wins_over_an_earlier_one() -> None:
    layers = [("budget", {"sasrec": {"num_train_epochs": 3, "hidden_size": 32, "batch_size": 64}})]
    row = BoardRow(
        method="sasrec", settings={"hidden_size": 16, "batch_size": 32, "as_published": True}
    )
    resolved = resolve_settings(row, layers=layers, overrides={"batch_size": 8})
    assert resolved["patience"] == 20  # the method's default
    assert resolved["learning_rate"] == 4e-3  # as published
    assert resolved["num_train_epochs"] == 3  # the budget
    assert resolved["hidden_size"] == 16  # the board's row
    assert resolved["batch_size"] == 8  # --set


def test_as_published_can_be_set_and_is_refused_where_it_means_nothing() -> None:
    on = {"as_published": True}
    resolved = resolve_settings(BoardRow(method="sasrec"), layers=[], overrides=on)
    assert resolved["learning_rate"] == 4e-3
    with pytest.raises(BenchError, match="popularity has no published settings"):
        resolve_settings(BoardRow(method="popularity"), layers=[], overrides=on)


def test_an_unknown_setting_of_a_row_is_refused() -> None:
    with pytest.raises(BenchError) as error:
        plan(board(BoardRow(method="sasrec", settings={"hiden_size": 3})))
    assert error.value.hint == "Did you mean hidden_size?"


def test_set_without_a_method_is_for_all_that_have_the_setting() -> None:
    both = board(*(BoardRow(method=name) for name in ("sasrec", "gru4rec", "popularity")))
    trials = plan(both, "hidden_size=3", "gru4rec.batch_size=7")
    assert [trial.settings.get("hidden_size") for trial in trials] == [3, 3, None]
    assert [trial.settings.get("batch_size") == 7 for trial in trials] == [False, True, False]
    with pytest.raises(BenchError, match="no method of this run has such a setting") as error:
        plan(both, "hiden_size=3")
    assert error.value.hint == "Did you mean hidden_size?"
    published = plan(both, "as_published=true")
    assert published[0].settings["learning_rate"] == 4e-3
    assert plan(both, "sasrec.hidden_size=3")[0].settings["hidden_size"] == 3
    assert plan(board(BoardRow(method="sasrec")), "hidden_size=3")[0].settings["hidden_size"] == 3


def test_settings_of_configs_are_set_by_path() -> None:
    both = board(BoardRow(method="bigrec"), BoardRow(method="zeroshot"), model="tiny")
    assert plan(both, "bigrec.sft.learning_rate=1e-4")[0].settings["sft.learning_rate"] == 1e-4
    row = BoardRow(method="bigrec", settings={"sft": {"learning_rate": 2e-4, "batch_size": 4}})
    alone = board(row, model="tiny")
    (trial,) = plan(alone, "sft.learning_rate=1e-4", "sft.trainer.weight_decay=0.1")
    assert trial.settings["sft.learning_rate"] == 1e-4
    assert trial.settings["sft.batch_size"] == 4
    assert trial.settings["sft.trainer.weight_decay"] == 0.1
    assert trial.settings["sft.num_train_epochs"] == 1  # the budget's [every]
    assert plan(both, "sft.learning_rate=3e-4")[0].settings["sft.learning_rate"] == 3e-4


@pytest.mark.parametrize("settings", [{"sft_learning_rate": 1e-4}, {"sft": {"learning_rat": 1e-4}}])
def test_an_unknown_path_is_refused_with_the_right_one(settings: dict[str, object]) -> None:
    with pytest.raises(BenchError) as error:
        plan(board(BoardRow(method="bigrec", settings=settings), model="tiny"))
    assert error.value.hint == "Did you mean sft.learning_rate?"


def test_a_value_out_of_range_is_refused_before_anything_runs() -> None:
    with pytest.raises(BenchError, match=r"row 'bigrec': sft\.batch_size = 0 is not valid"):
        plan(board(BoardRow(method="bigrec", settings={"sft": {"batch_size": 0}}), model="tiny"))


def test_set_for_a_method_that_is_not_in_the_run_is_refused() -> None:
    with pytest.raises(BenchError, match="no method in this run named 'sasrek'"):
        overrides_for("sasrec", [parse_override("sasrek.hidden_size=3")], ["sasrec"])


def test_rows_go_over_the_budgets_one_by_one() -> None:
    (trial,) = plan(board(BoardRow(method="popularity")), rows=RowCounts(test=7))
    assert trial.rows.model_dump() == {"train": 256, "valid": 64, "test": 7}


def test_settings_rows_and_data_seed_tell_trials_apart() -> None:
    row = BoardRow(method="sasrec")
    ids = {
        plan(board(row))[0].id,
        plan(board(row), "hidden_size=3")[0].id,
        plan(board(row), rows=RowCounts(test=7))[0].id,
        plan(board(row, data_seed=1))[0].id,
    }
    assert len(ids) == 4


def test_a_method_without_chance_shares_all_its_stages_between_seeds() -> None:
    graph = build_graph(plan(board(BoardRow(method="popularity"), seeds=3)))
    assert all(len(trials) == 3 for trials in graph.needed_by.values())


def test_a_board_with_an_unknown_data_set_keeps_its_other_cells() -> None:
    one = board(BoardRow(method="popularity"), datasets=("synthetik", "synthetic"))
    wrong, right = plan(one)
    assert "Did you mean 'synthetic'?" in wrong.problem
    assert right.problem == ""


def test_a_plan_that_fails_is_that_trials_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan_fails.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Method:\n"
        '    """Fails."""\n    def plan(self, data, model, seed):\n        return 1 / 0\n'
    )
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    wrong, right = plan(board(BoardRow(method="plan_fails"), BoardRow(method="popularity")))
    assert "ZeroDivisionError" in wrong.problem
    assert right.problem == ""


def test_every_k_of_every_board_is_evaluated() -> None:
    one = board(BoardRow(method="popularity"), metrics=("NDCG@5", "HR@7", "Hallucination"))
    assert collect_ks([one]) == (1, 5, 7, 10, 20)
