"""Pages name the data and weights that were really used, and claims need those of the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from board_results import Line, assemble_from, make
from tiny_llama import tiny_backbone

from bench.config import plugins
from bench.plan.trials import Board
from bench.report.claims.runs import read_runs
from bench.report.render.markdown import render_markdown
from bench.results.load import load_results
from bench.results.schema import StageRecord, find_result, write_result
from bench.stages.hub import describe_model


def record(folder: Path, trial: str, kind: str, **metadata: object) -> None:
    result = find_result(folder, trial)
    assert result is not None
    stage = StageRecord(
        key=kind, kind=kind, seconds=1, peak_memory_mib=1, shared=False, metadata=dict(metadata)
    )
    write_result(result.model_copy(update={"stages": [*result.stages, stage]}), folder)


@pytest.fixture
def board(tmp_path: Path):
    board, cells = make(tmp_path, [Line("Good", 0.9), Line("Bad", 0.1)], seeds=1)
    return tmp_path, board, cells


def test_other_weights_are_described_and_shown_in_place_of_the_card(board) -> None:
    folder, made, cells = board
    named = Board(name=made.name, card=made.card.model_copy(update={"model": "qwen2.5-1.5b"}))
    trials = [(line, replace_model(trial)) for line, trial in cells]
    model = folder / "model"
    tiny_backbone(model)
    for _, trial in cells:
        record(folder, trial.id, "hub", folder_checksum="ab" * 32, **describe_model(model))
    text = render_markdown(assemble_from(named, trials, folder))
    assert "Backbone of the language models: qwen2.5-1.5b." not in text
    assert "LlamaForCausalLM" in text
    assert "abababababab" in text


def replace_model(trial):
    import dataclasses

    changed = dataclasses.replace(trial, model="qwen2.5-1.5b")
    vars(changed)["id"] = trial.id
    return changed


def test_other_data_are_named_on_the_page(board, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made, cells = board
    card = plugins.dataset_card("synthetic")
    other = card.model_copy(update={"expected": {"items": 10681}})
    monkeypatch.setattr(plugins, "dataset_card", lambda name: other)
    for _, trial in cells:
        result = find_result(folder, trial.id)
        data = result.data.model_copy(update={"counts": {"items": 120}})
        write_result(result.model_copy(update={"data": data}), folder)
    text = render_markdown(assemble_from(made, cells, folder))
    assert "Synthetic (not the card’s data)" in text
    assert "has 120 items, the card expects 10,681" in text


def test_a_row_differs_from_its_declared_board_by_budget_and_rows(
    board, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made, cells = board
    paths = plugins.card_paths
    monkeypatch.setattr(plugins, "card_paths", lambda kind: {**paths(kind), made.name: None})
    monkeypatch.setattr(plugins, "board_card", lambda name: made.card)
    smoke = Board(name=made.name, card=made.card.model_copy(update={"budget": "smoke"}))
    for used, words in ((smoke, "budget smoke instead of paper"), (made, "numbers of samples")):
        runs = read_runs([(used, cells)], load_results(folder))
        assert all(words in text for text in runs.differences.values())
        assert len(runs.differences) == 2
