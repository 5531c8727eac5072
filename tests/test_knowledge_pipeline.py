"""Knowledge through the whole pipeline: it helps where texts tell something, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.config.cards import BoardCard, BoardRow
from bench.models.lm.threads import compute_threads
from bench.plan.trials import Board, all_ks, board_trials
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import Options, run
from bench.runner.store import Store

CARD = """
title = "Telling titles"
description = "Users who love one genre of four, which its titles name."
license = "none"
citation = "none"
reader = "movielens"
[files.interactions]
name = "ratings.dat"
[files.items]
name = "movies.dat"
[fields]
format = "dat"
encoding = "utf-8"
[lists]
cap = 8
positive_above = 3
domain = "movie"
titles = "fronted"
"""
MODEL = """
title = "talker"
description = "A random Llama that says anything."
license = "none"
weights = "built"
tuning = "full"
context = 512
threads = 1
[architecture]
layers = 1
width = 32
heads = 2
intermediate = 64
vocabulary = 512
"""
GENRES = ("Crime", "Drama", "Comedy", "War")
NUM_USERS, NUM_MOVIES = 96, 96
SETTINGS = {
    "texts": "users",
    "user_text": "history+answer",
    "rerank_learning_rate": 5e-3,
    "rerank_batch": 32,
    "rerank_epochs": 16,
    "rerank_patience": 16,
    "answer_tokens": 4,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1):
        yield


@pytest.fixture
def telling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everybody begins with eight movies of the genre they love, and then sees all kinds.

    What a user did first, and so the text about them, names the genre that their later labels are
    of; the answers of a random model add nothing.
    """
    for room, name, text in (("datasets", "telling", CARD), ("models", "talker", MODEL)):
        (tmp_path / room).mkdir()
        (tmp_path / room / f"{name}.toml").write_text(text)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    numbers = np.random.default_rng(0)
    movies = range(1, NUM_MOVIES + 1)
    (tmp_path / "movies.dat").write_text(
        "".join(f"{n}::{GENRES[n % 4]} {n} (1999)::{GENRES[n % 4]}\n" for n in movies)
    )
    lines = []
    for user in range(NUM_USERS):
        loved = numbers.permutation([n for n in movies if n % 4 == user % 4])
        others = numbers.permutation([n for n in movies if n % 4 != user % 4])
        seen = [*loved[:8], *numbers.permutation([*loved[8:16], *others[:8]])]
        lines += [
            f"{user}::{movie}::{5 if movie % 4 == user % 4 else 2}::{1_000 + place}\n"
            for place, movie in enumerate(seen)
        ]
    (tmp_path / "ratings.dat").write_text("".join(lines))
    return tmp_path


def test_texts_help_and_the_texts_of_others_do_not(telling: Path) -> None:
    quick = {name: value for name, value in SETTINGS.items() if name.startswith("rerank")}
    shuffled = {**SETTINGS, "shuffle_texts": True}
    rows = (
        BoardRow(method="prm", settings=quick),
        BoardRow(method="kar", settings=SETTINGS),
        BoardRow(method="kar", label="kar, shuffled", settings=shuffled),
        BoardRow(method="dpo4rec", settings=SETTINGS),
        BoardRow(method="dpo4rec", label="dpo4rec, shuffled", settings=shuffled),
    )
    card = BoardCard(
        title="T",
        datasets=("telling",),
        rows=rows,
        metrics=("MAP@5",),
        seeds=1,
        model="talker",
        budget="smoke",
    )
    one = Board(name="t", card=card)
    trials = {row.name: t for row, t in board_trials(one, ks=all_ks([one]), data_dir=telling)}
    assert not any(trial.problem for trial in trials.values())
    options = Options(
        store=Store(telling / "store"),
        results=telling / "results",
        data_dir=telling,
        offline=True,
        quiet=True,
    )
    summary = run(list(trials.values()), options=options, executor=InlineExecutor)
    assert len(summary.ok) == 5, (summary.failed, summary.skipped)
    found = {name: find_result(telling / "results", trial.id) for name, trial in trials.items()}
    reached = {n: one.evaluations["final"].metrics["MAP@5"] for n, one in found.items() if one}
    for method in ("kar", "dpo4rec"):
        assert reached[method] > reached["prm"] + 0.15, reached
        assert reached[f"{method}, shuffled"] < reached["prm"] + 0.05, reached
    stages = {stage.kind: stage.facts for stage in found["dpo4rec"].stages}  # type: ignore[union-attr]
    pairs = stages["reward_pairs"]
    assert pairs["pairs"] > 0
    assert pairs["worst_reward"] < pairs["best_reward"]
    assert stages["answer_preference"]["loss_by_step"][0] == pytest.approx(0.693147, abs=1e-4)
