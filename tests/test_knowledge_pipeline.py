"""Knowledge through the whole pipeline: it helps if texts are informative, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.config.cards import BoardCard, BoardRow
from bench.plan.trials import Board, board_trials, collect_ks
from bench.results.schema import find_result
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = """
title = "Titles with genres"
description = "Users with one favorite genre of four, which titles name."
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
title = "random-llm"
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
RERANKER = {
    "reranker.learning_rate": 5e-3,
    "reranker.batch_size": 32,
    "reranker.num_train_epochs": 16,
    "reranker.patience": 16,
}
SETTINGS = {
    **RERANKER,
    "knowledge.texts": "users",
    "knowledge.generation.max_new_tokens": 4,
}


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everybody begins with eight movies of their favorite genre, and then watches all kinds.

    The first movies, and so the text about a user, name the genre that determines the later labels;
    the answers of a random model add nothing.
    """
    for folder, name, text in (("datasets", "genre-titles", CARD), ("models", "random-llm", MODEL)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.toml").write_text(text)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    movies = range(1, NUM_MOVIES + 1)
    (tmp_path / "movies.dat").write_text(
        "".join(f"{n}::{GENRES[n % 4]} {n} (1999)::{GENRES[n % 4]}\n" for n in movies)
    )
    lines = []
    for user in range(NUM_USERS):
        favorites = generator.permutation([n for n in movies if n % 4 == user % 4])
        others = generator.permutation([n for n in movies if n % 4 != user % 4])
        history = [*favorites[:8], *generator.permutation([*favorites[8:16], *others[:8]])]
        lines += [
            f"{user}::{movie}::{5 if movie % 4 == user % 4 else 2}::{1_000 + second}\n"
            for second, movie in enumerate(history)
        ]
    (tmp_path / "ratings.dat").write_text("".join(lines))
    return tmp_path


def test_own_texts_help_and_texts_of_other_users_do_not(data_dir: Path) -> None:
    shuffled = {**SETTINGS, "reranker.shuffle_user_texts": True}
    rows = (
        BoardRow(method="prm", settings=RERANKER),
        BoardRow(method="kar", settings=SETTINGS),
        BoardRow(method="kar", label="kar, shuffled", settings=shuffled),
        BoardRow(method="dpo4rec", settings=SETTINGS),
        BoardRow(method="dpo4rec", label="dpo4rec, shuffled", settings=shuffled),
    )
    card = BoardCard(
        title="T",
        datasets=("genre-titles",),
        rows=rows,
        metrics=("MAP@5",),
        seeds=1,
        model="random-llm",
        budget="smoke",
    )
    board = Board(name="t", card=card)
    planned = board_trials(board, ks=collect_ks([board]), data_dir=data_dir)
    trials = {row.name: trial for row, trial in planned}
    assert not any(trial.problem for trial in trials.values())
    options = RunOptions(
        store=Store(data_dir / "store"),
        results=data_dir / "results",
        data_dir=data_dir,
        offline=True,
        quiet=True,
    )
    summary = run(list(trials.values()), options=options, executor=InlineExecutor)
    assert len(summary.ok) == 5, (summary.failed, summary.skipped)
    results = {name: find_result(data_dir / "results", trial.id) for name, trial in trials.items()}
    reached = {
        name: result.evaluations["final"].metrics["MAP@5"]
        for name, result in results.items()
        if result
    }
    for method in ("kar", "dpo4rec"):
        assert reached[method] > reached["prm"] + 0.15, reached
        assert reached[f"{method}, shuffled"] < reached["prm"] + 0.05, reached
    stages = {stage.kind: stage.metadata for stage in results["dpo4rec"].stages}  # type: ignore[union-attr]
    pairs = stages["reward_pairs"]
    assert pairs["pairs"] > 0
    assert pairs["worst_reward"] < pairs["best_reward"]
    assert stages["preference"]["loss_by_step"][0] == pytest.approx(0.693147, abs=1e-4)
