"""BIGRec's grounding: the backbone's hidden states, and preferred items drawn nearer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stage_runs import run_stage
from tiny_llama import NOUNS, TITLES, tiny_backbone

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow
from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.prompts import response
from bench.hashing import Job
from bench.models.lm.encode.grounding import read_vectors
from bench.models.lm.generated_texts import write_texts
from bench.models.lm.tuned_model import LanguageModel, load
from bench.plan.language_stages import GroundingConfig, HiddenConfig
from bench.plan.trials import Board, board_trials
from bench.results.ranking_file import read_ranking
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.store import Store
from bench.stages.hidden import HiddenStates

FULL = {"kind": "full"}
CASES = np.array([4, 5, 6])
WRITTEN = (response(TITLES[2]), '"no such thing', "")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_backbone(folder / "backbone")
    places = np.arange(9)
    source = prepared.Prepared(
        catalog=Catalog(ids=TITLES, titles=TITLES, categories=((),) * len(TITLES), tracked=()),
        user_ids=("u",),
        users=np.zeros(9, dtype=np.int32),
        items=np.array([0, 1, 1, 1, 2, 3, 4, 5, 0], dtype=np.int32),
        ratings=np.ones(9, dtype=np.float32),
        times=places,
        start=np.zeros(8, dtype=np.int64),
        target=places[1:],
        boundaries=(4, 4),
        history=8,
    )
    for name in ("data", "cases", "train", "generated"):
        (folder / name).mkdir()
    prepared.write(source, folder / "data")
    prepared.write_rows(CASES, folder / "cases")
    prepared.write_rows(np.arange(4), folder / "train")
    texts = tuple((text,) for text in WRITTEN)
    write_texts(texts, ((0.0,),) * 3, folder / "generated")
    return folder


def model(world: Path) -> LanguageModel:
    return load(world / "backbone", tuning=FULL, dtype="float32")


def encoded(world: Path, out: Path, **given: Any) -> Job:
    folders = {"data": world / "data", "backbone": world / "backbone"}
    return run_stage("hidden", HiddenConfig, out, nouns=NOUNS, context=150, **folders, **given)


def test_a_vector_is_the_last_hidden_state_of_the_last_token(world: Path) -> None:
    language_model = model(world)
    texts = [TITLES[0], "a much longer text, so that the others are padded", TITLES[0]]
    vectors = HiddenStates(model=language_model).encode(texts)
    for text, vector in zip(texts, vectors, strict=True):
        ids = torch.tensor([language_model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = language_model.model(input_ids=ids, output_hidden_states=True).hidden_states
        assert vector == pytest.approx(states[-1][0, -1].numpy(), abs=1e-4)
    assert vectors[0].tolist() == vectors[2].tolist()
    smaller = HiddenStates(model=language_model, divisor=256).encode(texts)
    assert smaller == pytest.approx(vectors, abs=1e-4)


def test_no_text_at_all_has_a_vector(world: Path) -> None:
    encoder = HiddenStates(model=model(world))
    assert np.isfinite(encoder.encode([""])).all()
    assert encoder.encode([]).shape[0] == 0


def test_titles_and_what_was_written(world: Path, tmp_path: Path) -> None:
    job = encoded(world, tmp_path / "titles")
    titles = read_vectors(tmp_path / "titles")
    assert titles == pytest.approx(HiddenStates(model=model(world)).encode(TITLES), abs=1e-4)
    assert job.metadata == {"texts": len(TITLES), "width": titles.shape[1]}
    of_cases = {"cases": world / "cases", "generated": world / "generated"}
    encoded(world, tmp_path / "written", **of_cases)
    written = read_vectors(tmp_path / "written")
    names = [TITLES[2], "no such thing", "NAN"]
    assert written == pytest.approx(HiddenStates(model=model(world)).encode(names), abs=1e-4)


@pytest.fixture
def inputs(world: Path, tmp_path: Path) -> dict[str, Path]:
    given = {"cases": world / "cases", "generated": world / "generated"}
    encoded(world, tmp_path / "titles")
    encoded(world, tmp_path / "written", **given)
    vectors = {"vectors": tmp_path / "titles", "text_vectors": tmp_path / "written"}
    return {"data": world / "data", **given, **vectors}


def grounded(out: Path, inputs: Mapping[str, Path], **given: Any) -> np.ndarray[Any, Any]:
    values = {"encoder": "backbone", "depth": 6, **inputs, **given}
    run_stage("ground", GroundingConfig, out, **values)
    return read_ranking(out).items


def test_popular_items_come_nearer_but_not_before_the_nearest(
    world: Path, tmp_path: Path, inputs: dict[str, Path]
) -> None:
    plain = grounded(tmp_path / "plain", inputs)
    assert plain[0, 0] == 2
    train = {"train": world / "train"}
    assert grounded(tmp_path / "zero", inputs, gamma=0.0, **train).tolist() == plain.tolist()
    drawn = grounded(tmp_path / "drawn", inputs, gamma=40.0, **train)
    # Item 1 is the target of three of four training rows, item 2 of one.
    assert drawn[:, 0].tolist() == plain[:, 0].tolist()
    popular = [list(row).index(1) for row in drawn]
    assert all(place <= 1 for place in popular)
    assert [list(row).index(1) for row in plain] != popular


def test_the_whole_of_it_with_settings_selected_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke = plugins.budget_card("smoke").model_copy(update={"select": True})
    monkeypatch.setattr(plugins, "budget_card", lambda name: smoke)
    grounding = {"encoder": "backbone"}
    settings = {"grounding": grounding, "preferred_by": "sasrec"}
    gammas = {"grounding": {"gamma": [0.0, 2.0]}}
    rows = [
        BoardRow(method="bigrec", label="chosen", settings=settings, select=gammas),
        BoardRow(method="bigrec", label="plain", settings={"grounding": grounding}),
        BoardRow(method="igd", select={"beta": [0.1, 1.0], "alpha": [0.0, 0.2]}),
        BoardRow(method="d3", select={"alpha": [0.5, 1.0]}),
    ]
    card = BoardCard(
        title="T", datasets=("synthetic",), rows=tuple(rows), metrics=("NDCG@5",), seeds=1,
        budget="smoke", model="tiny",
    )  # fmt: skip
    trials = [trial for _, trial in board_trials(Board(name="t", card=card), ks=(5,))]
    assert [trial.problem for trial in trials] == [""] * 4
    options = RunOptions(store=Store(tmp_path / "s"), results=tmp_path / "r", quiet=True)
    assert run(trials, options=options, executor=InlineExecutor).exit_code == 0
    found = [find_result(tmp_path / "r", trial.id) for trial in trials]
    choices = [
        [stage.metadata["validation"] for stage in result.stages if stage.kind == "select"]
        for result in found
        if result is not None
    ]
    assert [[list(one) for one in of_trial] for of_trial in choices] == [
        [["grounding.gamma = 0.0", "grounding.gamma = 2.0"]],
        [],
        [[f"beta = {beta}, alpha = {alpha}" for beta in (0.1, 1.0) for alpha in (0.0, 0.2)]],
        [["alpha = 0.5", "alpha = 1.0"]],
    ]
