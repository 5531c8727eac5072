"""Titles in tokens of a backbone, and the share of tokens that say nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.models.lm.train.information_gain import count_tokens


class Characters:
    """A tokenizer whose tokens are characters, quotes included; 0 ends a text."""

    eos_token_id = 0

    def __call__(self, texts: Sequence[str], *, add_special_tokens: bool) -> dict[str, list]:
        assert not add_special_tokens
        return {"input_ids": [[ord(sign) for sign in text] for text in texts]}


@pytest.fixture
def small() -> Prepared:
    """One user sees a, b, c, b; training targets b and c, then valid b; d is nobody's target."""
    return Prepared(
        catalog=Catalog(
            ids=("a", "b", "c", "d"),
            titles=("Xylophone", "Ada", "Add", "Adverse"),
            categories=((),) * 4,
        ),
        user_ids=("u",),
        users=np.zeros(4, dtype=np.int32),
        items=np.array([0, 1, 2, 1], dtype=np.int32),
        ratings=np.full(4, np.nan, dtype=np.float32),
        times=np.arange(4),
        start=np.zeros(3, dtype=np.int64),
        target=np.array([1, 2, 3], dtype=np.int64),
        boundaries=(2, 3),
        history=3,
    )


def test_tokens_counted_by_hand(small: Prepared) -> None:
    found = count_tokens(small, Characters())
    # In quotes and with an end: 9 + 3, 3 + 3, 3 + 3, 7 + 3.
    assert found["title_tokens"]["min"] == 6
    assert found["title_tokens"]["max"] == 12
    assert found["title_tokens"]["mean"] == (12 + 6 + 6 + 10) / 4
    # Trained are "Ada" and "Add": quote, A, d, then one of two, quote, end.
    assert found["target_tokens"] == 12
    assert found["zero_gain_tokens"] == 10
    assert found["zero_gain_share"] == 10 / 12


def test_titles_of_items_that_nobody_trains_on_part_no_ways(small: Prepared) -> None:
    """A third way on from "Ad" counts only once it is a target itself."""
    longer = replace(small, items=np.array([0, 1, 3, 1], dtype=np.int32))
    found = count_tokens(longer, Characters())
    # "Ada" and "Adverse": 6 + 10 tokens, of which one each has an alternative.
    assert (found["target_tokens"], found["zero_gain_tokens"]) == (16, 14)


def test_a_target_of_two_rows_counts_twice(small: Prepared) -> None:
    found = count_tokens(replace(small, boundaries=(3, 3)), Characters())
    assert (found["target_tokens"], found["zero_gain_tokens"]) == (18, 15)


def test_without_training_rows_there_is_nothing_to_count(small: Prepared) -> None:
    with pytest.raises(BenchError, match="training split is empty"):
        count_tokens(replace(small, boundaries=(0, 1)), Characters())


def test_stats_show_tokens_of_a_model_and_only_when_asked(tmp_path: Path) -> None:
    command = ["data", "stats", "synthetic", "--store", str(tmp_path), "--offline"]
    plain = CliRunner().invoke(app, [*command, "--json"])
    assert plain.exit_code == 0, plain.output
    assert not any("tokens" in name for name in json.loads(plain.stdout)["synthetic"])
    done = CliRunner().invoke(app, [*command, "--json", "--model", "tiny"])
    assert done.exit_code == 0, done.output
    tokens = json.loads(done.stdout)["synthetic"]["tokens, tiny"]
    # 1,920 training rows, each at least quote, something, quote, end.
    assert tokens["target_tokens"] >= 4 * 1920
    assert 0 < tokens["zero_gain_share"] < 1
    assert tokens["zero_gain_tokens"] == pytest.approx(
        tokens["zero_gain_share"] * tokens["target_tokens"]
    )
    shown = CliRunner().invoke(app, [*command, "--model", "tiny"])
    assert f"tokens, tiny, target tokens: {tokens['target_tokens']:,}" in shown.output
    # The tokenizer is made, but nothing is pretrained for it.
    assert {path.name for path in tmp_path.iterdir()} >= {"prepare", "build"}
    assert not (tmp_path / "pretrain").exists()


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    command = ["data", "stats", "synthetic", "--store", str(tmp_path), "--model", "tinny"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0
    assert "tinny" in f"{done.output}{done.exception}"
