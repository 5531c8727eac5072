"""Why a stage would run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stage_runs import make_config
from test_estimate import commit_under, plan_graph

from bench import cli
from bench.plan.item_stages import RankConfig
from bench.plan.stage import Stage
from bench.runner.explain import StageExplanation, explain_graph
from bench.runner.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def prepare(**args: Any) -> Stage:
    defaults = {"name": "d", "card": {"filters": {"min_rating": 3}}, "checksums": {"ratings": "a"}}
    return Stage(kind="prepare", config=make_config(**defaults | args))


def draw(data: Stage, **args: Any) -> Stage:
    return Stage(
        kind="draw", config=make_config(**{"num": 10, "seed": 0, **args}), inputs={"data": data}
    )


def keep(store: Store, *stages: Stage, key: str = "", code: bool = True, **more: Any) -> None:
    for stage in stages:
        recorded = {"code": dict(stage.code), **more} if code else more
        commit_under(store, stage, key or stage.key, 1.0, **recorded)


def last(store: Store, stage: Stage) -> StageExplanation:
    return explain_graph(plan_graph(stage), store)[-1]


def test_what_is_stored_and_what_it_needs(store: Store) -> None:
    keep(store, draw(prepare()))
    states = [(one.kind, one.state) for one in explain_graph(plan_graph(draw(prepare())), store)]
    assert states == [("prepare", "not needed"), ("draw", "stored")]


def test_nothing_of_the_kind_is_stored(store: Store) -> None:
    assert last(store, draw(prepare())).reasons == ("No artifact of the kind draw is stored.",)


def test_arguments_differ_from_the_nearest(store: Store) -> None:
    far, near = draw(prepare(), num=99, split="test"), draw(prepare(), num=20)
    keep(store, prepare(), far, near)
    explanation = last(store, draw(prepare()))
    assert (explanation.state, explanation.nearest) == ("would run", near.key)
    assert explanation.reasons == ("The argument num differs: 20 → 10",)
    assert last(store, draw(prepare(), num=98, split="test")).nearest == far.key


def test_an_argument_is_new_or_gone(store: Store) -> None:
    keep(store, prepare(), draw(prepare(), old=1))
    explanation = last(store, draw(prepare(), new=True))
    assert explanation.reasons == (
        "The argument new differs: nothing → True",
        "The argument old differs: 1 → nothing",
    )


def test_data_differ_and_what_stands_on_them(store: Store) -> None:
    keep(store, prepare(), draw(prepare()))
    other = prepare(checksums={"ratings": "b"}, card={"filters": {"min_rating": 4}})
    first, second = explain_graph(plan_graph(draw(other)), store)
    assert first.reasons == (
        "The data set's card differs in filters.min_rating: 3 → 4",
        "The raw file 'ratings' differs, sha256: a → b",
    )
    assert second.reasons == (f"The input data differs: prepare {other.key[:8]} would run itself.",)


def test_inputs_differ(store: Store) -> None:
    old, new = prepare(), prepare(name="e")
    keep(store, old, new, draw(old))
    reason = f"The input data differs: prepare {new.key[:8]}, not {old.key[:8]}."
    assert last(store, draw(new)).reasons == (reason,)
    joined = Stage(kind="draw", config=draw(old).config, inputs={"more": new})
    assert last(store, joined).reasons == (
        f"The input more is new: prepare {new.key[:8]}.",
        "The input data was removed.",
    )


def test_code_differs_in_named_modules(store: Store) -> None:
    stage = draw(prepare())
    code = dict(stage.code)
    assert "bench.stages.draw" in code
    code["bench.stages.draw"] = "0" * 12
    keep(store, prepare())
    keep(store, stage, key="f" * 32, code=False)
    assert last(store, stage).reasons == (
        "The code differs; the artifact does not list its modules.",
    )
    commit_under(store, stage, "e" * 32, 1.0, code=code)
    explanation = last(store, stage)
    assert (explanation.nearest, explanation.reasons) == (
        "e" * 32,
        ("The code differs: bench.stages.draw.",),
    )


def test_a_plug_ins_module_is_among_its_code() -> None:
    stage = Stage(
        kind="rank", config=RankConfig(scorer="random:fit", settings={}, depth=1, threads=1)
    )
    assert {"random", "bench.stages.rank"} <= stage.code.keys()
    assert "random" not in Stage(kind="rank").code


# --- the command ----------------------------------------------------------------------------------


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
        raise SystemExit(0)
    return int(left.value.code or 0)


def test_the_command_explains_one_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    smoke = ("--board", "smoke", "--method", "popularity")
    assert call(monkeypatch, "run", *smoke, "--seeds", "1", "--executor", "inline") == 0
    plan = capsys.readouterr() and call(monkeypatch, "plan", *smoke, "--seeds", "1", "--json")
    assert plan == 0
    (trial,) = json.loads(capsys.readouterr().out)["trials"]

    assert call(monkeypatch, "explain", trial["id"]) == 0  # found among the boards that ran
    out = capsys.readouterr().out
    assert trial["id"] in out
    assert "would run" not in out

    changed = (*smoke, "--seed", "0", "--rows", "train=8")
    assert call(monkeypatch, "explain", *changed, "--json") == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    draws = [one for one in stages if one["kind"] == "draw"]
    (redrawn,) = [one for one in draws if one["state"] == "would run"]
    assert redrawn["reasons"] == ["The argument num differs: 256 → 8"]
    assert {one["state"] for one in stages if one["kind"] == "prepare"} == {"stored"}
    (rank,) = [one for one in stages if one["kind"] == "rank"]
    assert "The input train differs" in rank["reasons"][0]
    assert "would run itself" in rank["reasons"][0]

    assert call(monkeypatch, "explain", *smoke) == 2
    assert "2 trials match" in capsys.readouterr().err
    assert call(monkeypatch, "explain", *smoke, "--seed", "7") == 2
    assert "None of these trials has the seed 7" in capsys.readouterr().err
    assert call(monkeypatch, "explain", trial["id"] + "0", *smoke) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_without_results_a_board_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "explain", "d/m/x/seed-0") == 2
    assert "--board B" in capsys.readouterr().err
