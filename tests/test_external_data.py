"""What a row read beyond the data set, and what selected it: values on validation and on test."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config.request import PROBES
from bench.report.deviations import describe_external, name_external
from bench.report.format import row_notes
from bench.results.validation import read_validation


def result(*stages: tuple[str, dict[str, Any]], **metrics: float) -> Any:
    return SimpleNamespace(
        stages=[SimpleNamespace(kind=kind, metadata=logged) for kind, logged in stages],
        evaluations={"final": SimpleNamespace(metrics=metrics)},
        model="llama-3.2-1b-instruct",
        settings={"writer": "chatgpt-4o-latest"},
    )


@pytest.mark.parametrize(
    ("kinds", "model"),
    [
        (("prepare", "sasrec"), ""),
        (("build", "pretrain", "sft"), ""),
        (("hub", "sft"), "llama-3.2-1b-instruct"),
        (("responses", "rerank"), "chatgpt-4o-latest"),
    ],
)
def test_only_models_trained_on_other_text_are_external(kinds: list[str], model: str) -> None:
    assert name_external(result(*((kind, {}) for kind in kinds))) == model


def test_a_board_names_models_that_may_have_seen_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = "llama-3.2-1b-instruct"
    rows: Any = [
        SimpleNamespace(
            name=name,
            external=external,
            successful=[0],
            reference=not external,
            ranked=True,
            status="complete",
        )
        for name, external in (("SASRec", ""), ("BIGRec", model), ("SPRec", model))
    ]
    notes = [row_notes(row) for row in rows]
    assert notes == [["reference"], *[["pretrained on other text"]] * 2]
    text = describe_external("ml-100k", rows)
    assert text.startswith("BIGRec and SPRec use llama-3.2-1b-instruct")
    assert "until 2023-12" in text
    assert "bench probe was not run" in text
    assert text.endswith("The other rows use no such model.")
    assert describe_external("synthetic", rows) == "", "nobody has read generated data"
    PROBES.mkdir(parents=True)
    tasks = [
        {"task": "title of an id", "verdict": "above chance and above the control"},
        {"task": "next interaction", "verdict": "not above chance"},
    ]
    (PROBES / f"{model}--ml-100k.json").write_text(json.dumps(tasks))
    assert "(“title of an id”)" in describe_external("ml-100k:target=first", rows)


SASREC = (
    "sasrec",
    {"best_epoch": 2, "loss_by_epoch": [3, 2, 1], "valid_ndcg@20_by_epoch": [0.1, 0.3, 0.2]},
)
SFT = ("sft", {"best_epoch": 1, "valid_loss_by_epoch": [2.5, 2.75]})
CHOICE = ("select", {"metric": "HR@5", "chosen": "a", "validation": {"a": 0.5, "b": 0.25}})


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        (
            [SASREC],
            "epoch 2: NDCG@20 0.3000 on validation, best of 3; 0.2500 on test, gap -0.0500",
        ),
        ([SASREC, SFT], "epoch 1: LOSS 2.5000 on validation, best of 2"),
        (
            [SASREC, SFT, CHOICE],
            "a: HR@5 0.5000 on validation, best of 2; 0.5500 on test, gap +0.0500",
        ),
        ([("rerank", {"best_epoch": 1, "map@5_by_epoch": [0.5], "as_published": True})], None),
        ([("sasrec", {"best_epoch": 1, "valid_ndcg@20_by_epoch": []})], None),
    ],
)
def test_the_value_that_selected_is_shown_with_its_test_value(
    stages: list[tuple[str, dict[str, Any]]], text: str | None
) -> None:
    value = read_validation(result(*stages, **{"NDCG@20": 0.25, "HR@5": 0.55}))
    assert (value and value.text) == text
