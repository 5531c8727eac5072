"""Knowledge in words: titles, prompts, vectors of long texts, rewards, pairs, and the stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rounding import rounding_tolerance
from tiny_encoder import MAX_LENGTH, WIDTH, write_encoder

from bench.config.plugins import dataset_card
from bench.data import prepared_lists
from bench.data.assets import checksums
from bench.data.kar import Rules
from bench.errors import BenchError
from bench.hashing import Job
from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.encode.sentence_encoder import Encoder, encode_long_texts, load_encoder
from bench.models.rerank.model import FeatureSizes, ListTensors, Reranker
from bench.models.rerank.prompts import (
    AGES,
    DOMAINS,
    OCCUPATIONS,
    Profile,
    ask_about_item,
    ask_about_user,
    clean_title,
    list_ratings,
    move_article_to_front,
    write_user_text,
)
from bench.models.rerank.vectors import shuffle_user_texts
from bench.plan.config import Config
from bench.plan.rerank_stages import (
    CandidateListsConfig,
    ListOrderConfig,
    RerankerConfig,
    make_candidate_lists,
    order_lists,
    rerank_lists,
)
from bench.plan.stage import Stage
from bench.plan.types import ListData
from bench.stages import lists as lists_stage
from bench.stages import order_lists as order_lists_stage
from bench.stages import rerank as rerank_stage
from bench.stages.reward_pairs import Rewards, TextPair, compute_rewards, select_pairs

pytestmark = pytest.mark.usefixtures("one_thread")


# --- titles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Shawshank Redemption, The (1994)", "The Shawshank Redemption (1994)"),
        ("Few Good Men, A (1992)", "A Few Good Men (1992)"),
        ("American in Paris, An (1951)", "American in Paris, An (1951)"),
        ("Postino, Il (The Postman) (1994)", "Postino, Il (The Postman) (1994)"),
        ("Usual Suspects, The", "Usual Suspects, The"),
        (" Heat (1995) ", "Heat (1995)"),
    ],
)
def test_articles_move_to_the_front(title: str, expected: str) -> None:
    assert move_article_to_front(title) == expected


def test_as_many_movie_titles_as_documented_have_several_parentheses(shared_data: Path) -> None:
    path = shared_data / "ml-1m" / "movies.dat"
    titles = [line.split("::")[1] for line in path.read_text(encoding="iso-8859-1").splitlines()]
    assert len(titles) == 3_883
    unchanged = [title for title in titles if title.count("(") != 1]
    assert len(unchanged) == 269
    assert all(move_article_to_front(title) == title.strip() for title in unchanged)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bed &amp; Bath", "Bed & Bath"),
        ("Women\u2019s  \u201cGlow\u201d \u2013 Cream\u2026", 'Women\'s "Glow" - Cream...'),
        ("Caf\u00e9 Cream", ""),
        ("12-34", ""),
        ("ab", ""),
        ("", ""),
        ("x" * 160, "x" * 150),
        (("word " * 40).strip(), ("word " * 30).strip()),
        ("a" * 140 + ", " + "b" * 20, "a" * 140),
    ],
)
def test_product_titles_are_cleaned_or_dropped(text: str, expected: str) -> None:
    assert clean_title(text) == expected


# --- prompts --------------------------------------------------------------------------------------


def test_ratings_are_listed_with_titles() -> None:
    entries = list_ratings(['The "Burbs" (1989)', "Heat (1995)"], np.array([2, 5]))
    assert entries == ("\"The 'Burbs' (1989)\", 2 stars; ", '"Heat (1995)", 5 stars; ')


def test_a_question_about_a_user_separates_history_and_request() -> None:
    profile = Profile(gender="F", age=25, occupation=12)
    prompt = ask_about_user(DOMAINS["movie"], ["Heat (1995)"], [5.0], profile)
    assert prompt.context.endswith('"Heat (1995)", 5 stars;')
    for phrase in ("woman", AGES[25], "programmer", "viewer"):
        assert phrase in prompt.context
    assert DOMAINS["movie"].factors in prompt.request
    assert "Heat" not in prompt.request
    assert prompt.text == f"{prompt.context}\n{prompt.request}"
    num_factors = {name: len(domain.factors.split("; ")) for name, domain in DOMAINS.items()}
    assert num_factors == {"movie": 9, "book": 9, "product": 6}


def test_without_a_profile_the_question_contains_none() -> None:
    prompt = ask_about_user(DOMAINS["book"], ["Emma"], [4.0])
    assert "reader rated" in prompt.context
    assert not any(phrase in prompt.text for phrase in (*OCCUPATIONS, *AGES.values()))


def test_hashes_of_questions_are_stable_and_distinct() -> None:
    first, second, third = (
        ask_about_user(DOMAINS["movie"], ["Heat"], [stars]).hash for stars in (4.0, 5.0, 4.0)
    )
    assert first == third != second


def test_a_question_about_an_item_names_a_known_brand_only() -> None:
    assert '"Soap" by Acme' in ask_about_item(DOMAINS["product"], "Soap", "Acme").text
    assert " by " not in ask_about_item(DOMAINS["product"], "Soap").text.split(",")[0]


def test_the_text_about_a_user() -> None:
    prompt = ask_about_user(DOMAINS["movie"], ["Heat"], [5.0])
    text = write_user_text(prompt, "Likes crime.", "history+answer")
    assert text == f"{prompt.context} Likes crime."
    assert prompt.request not in text
    assert write_user_text(prompt, "", "history+answer") == prompt.context
    assert write_user_text(prompt, "Likes crime.", "answer") == "Likes crime."


@pytest.mark.parametrize("change", [{"gender": "X"}, {"age": 26}, {"occupation": 21}])
def test_unknown_profile_codes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match="no user of gender"):
        Profile(**({"gender": "F", "age": 25, "occupation": 0} | change))


# --- vectors of long texts ------------------------------------------------------------------------


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    write_encoder(tmp_path)
    return load_encoder("tiny", offline=True, data_dir=tmp_path)


SHORT = ["the red house", "a tree", "the river and the sea"]


def assert_equal_vectors(actual: NDArray[np.float32], expected: NDArray[np.floating]) -> None:
    atol = rounding_tolerance(expected, 10 * WIDTH)  # ten layers
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("long_text", ["windows", "truncate"])
def test_short_texts_have_the_encoders_own_vectors(encoder: Encoder, long_text: Any) -> None:
    encoded = encode_long_texts(encoder, SHORT, long_text=long_text)
    assert encoded.vectors.dtype == np.float32
    assert_equal_vectors(encoded.vectors, encoder.encode(SHORT))
    assert (encoded.num_long, encoded.num_empty) == (0, 0)


def test_a_long_text_is_the_mean_over_the_tokens_of_its_windows(encoder: Encoder) -> None:
    size = MAX_LENGTH - 2
    words = ("the red house and a tree " * 20).split()[: 2 * size + 3]
    windows = [words[:size], words[size : 2 * size], words[2 * size :]]
    vectors = encoder.encode([" ".join(window) for window in windows])
    expected = np.average(vectors, axis=0, weights=[len(window) + 2 for window in windows])
    text = " ".join(words)
    encoded = encode_long_texts(encoder, [text, *SHORT, text])
    assert_equal_vectors(encoded.vectors[0], expected)
    assert encoded.vectors[0].tolist() == encoded.vectors[4].tolist()
    assert encoded.num_long == 2
    truncated = encode_long_texts(encoder, [text], long_text="truncate")
    assert_equal_vectors(truncated.vectors, encoder.encode([text]))
    assert truncated.num_long == 1


def test_the_batch_size_has_no_effect(encoder: Encoder) -> None:
    texts = [*SHORT, "the sea " * 30, "a tree " * 11]
    single, batched = (encode_long_texts(encoder, texts, batch_size=n).vectors for n in (1, 100))
    assert_equal_vectors(single, batched)


def test_empty_texts_have_vectors_of_zero(encoder: Encoder) -> None:
    encoded = encode_long_texts(encoder, ["", "a tree", " \n"])
    assert encoded.vectors.any(axis=1).tolist() == [False, True, False]
    assert encoded.num_empty == 2
    assert encode_long_texts(encoder, []).vectors.shape == (0, WIDTH)


# --- rewards and pairs ----------------------------------------------------------------------------


def make_rewards(ndcg: list[list[float]], losses: list[list[float]] | None = None) -> Rewards:
    gains = np.array(ndcg)
    return Rewards(ndcg=gains, losses=np.zeros(gains.shape) if losses is None else np.array(losses))


def distinct_texts(rewards: Rewards) -> list[list[str]]:
    return [[f"text {n}" for n in range(len(row))] for row in rewards.ndcg]


def test_the_best_text_is_preferred_to_the_worst() -> None:
    rewards = make_rewards([[0.2, 0.7, 0.7, 0.1]])
    selection = select_pairs(rewards, distinct_texts(rewards), tie="first")
    assert selection.pairs == (TextPair(user=0, chosen=1, rejected=3),)


def test_ties_are_broken_by_loss_then_by_order() -> None:
    rewards = make_rewards([[0.7, 0.7, 0.1, 0.1, 0.7, 0.1]], [[0.5, 0.4, 0.8, 0.9, 0.4, 0.9]])
    texts = distinct_texts(rewards)
    assert select_pairs(rewards, texts).pairs == (TextPair(user=0, chosen=1, rejected=3),)
    by_order = select_pairs(rewards, texts, tie="first")
    assert by_order.pairs == (TextPair(user=0, chosen=0, rejected=2),)


def test_users_without_a_preference_have_no_pair() -> None:
    nan = float("nan")
    rewards = make_rewards([[0.5, 0.5], [nan, nan], [0.4, 0.6], [0.4, 0.6], [0.50, 0.52]])
    texts = distinct_texts(rewards)
    texts[3] = ["same", "same"]
    selection = select_pairs(rewards, texts, margin=0.05)
    assert selection.pairs == (TextPair(user=2, chosen=1, rejected=0),)
    assert selection.skipped == {
        "no list with a positive": 1,
        "equal texts": 1,
        "equal rewards": 2,
    }
    assert len(select_pairs(rewards, texts).pairs) == 2


def test_of_equal_texts_only_the_first_is_considered() -> None:
    rewards = make_rewards([[0.3, 0.9, 0.9, 0.3]], [[0.1, 0.5, 0.2, 0.9]])
    selection = select_pairs(rewards, [["a", "b", "b", "a"]])
    assert selection.pairs == (TextPair(user=0, chosen=1, rejected=0),)


def test_rewards_equal_a_loop_over_users_texts_and_lists() -> None:
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, 21, (12, 10), generator=generator)
    labels = (torch.rand(12, 10, generator=generator) < 0.3).double()
    labels[3] = 0
    users = torch.tensor([0, 0, 0, 0, 1, 1, 1, 3, 3, 3, 3, 3])
    texts = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    sizes = FeatureSizes(
        num_items=20, num_attributes=1, attributes_per_item=1, text_width=5, user_texts=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        attributes = torch.ones(21, 1, dtype=torch.int64)
        model = Reranker(RerankerConfig(), sizes, attributes).double().eval()
    rewards = compute_rewards(
        model, ListTensors(items=items, labels=labels, users=users, user_texts=texts)
    )
    assert rewards.ndcg.shape == rewards.losses.shape == (4, 3)
    assert np.isnan(rewards.ndcg[2]).all()
    for user in (0, 1, 3):
        for text in range(3):
            gains, losses = [], []
            for row in np.flatnonzero(users.numpy() == user):
                if not labels[row].any():
                    continue
                with torch.no_grad():
                    scores = model(items[row][None], texts[user, text][None])
                    losses.append(model.losses(scores, labels[row][None]).item())
                label = labels[row][None].numpy().astype(np.int8)
                metrics = evaluate_lists(scores.numpy(), label, ks=[5])
                gains.append(metrics.metrics["NDCG@5"])
            assert rewards.ndcg[user, text] == pytest.approx(np.mean(gains))
            assert rewards.losses[user, text] == pytest.approx(np.mean(losses))


# --- the stages, from raw files to scores ---------------------------------------------------------

CARD = """
title = "Made up"
description = "Users who love one genre of four."
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
"""
GENRES = ("Crime", "Drama", "Comedy", "War")
NUM_USERS, NUM_MOVIES = 60, 48


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a card and raw files: everybody gives 5 stars to one genre and 2 to others."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "made-up.toml").write_text(CARD)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    movies = [f"{n}::Movie {n} (1999)::{GENRES[n % 4]}|Short" for n in range(1, NUM_MOVIES + 1)]
    (tmp_path / "movies.dat").write_text("\n".join(movies) + "\n")
    ratings = [
        f"{user}::{movie}::{5 if movie % 4 == user % 4 else 2}::{1_000 + second}"
        for user in range(NUM_USERS)
        for second, movie in enumerate(generator.permutation(NUM_MOVIES)[:28] + 1)
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(ratings) + "\n")
    return tmp_path


def run_stage(stage: Stage, folder: Path, **inputs: Path) -> Job:
    """Run a stage as a worker does."""
    assert set(stage.inputs) == set(inputs)
    job = Job(out=folder / stage.key, data_dir=folder, offline=True)
    job.out.mkdir()
    modules: dict[str, Any] = {
        "lists": lists_stage,
        "rerank": rerank_stage,
        "order_lists": order_lists_stage,
    }
    modules[stage.kind].run(job, stage.config, inputs)
    return job


def plan_lists(name: str, checksums: dict[str, str | None]) -> ListData:
    card = dataset_card(name)
    config = CandidateListsConfig(
        name=name,
        reader=card.reader,
        fields=card.fields,
        checksums=checksums,
        rules=Rules(cap=8, positive_above=3),
        max_users=dict.fromkeys(prepared_lists.PARTS),
        valid_fraction=0.2,
    )
    return ListData(stage=make_candidate_lists(config))


@pytest.fixture
def lists(data_dir: Path) -> ListData:
    return plan_lists("made-up", checksums(dataset_card("made-up"), data_dir))


@pytest.fixture
def made(lists: ListData, data_dir: Path) -> Job:
    return run_stage(lists.stage, data_dir)


def map_at_5(source: prepared_lists.PreparedLists, folder: Path) -> float:
    rows, scores = source.read_scores(folder, "test")
    assert rows.tolist() == source.rows("test").tolist()
    return evaluate_lists(scores, source.labels[rows], ks=[5]).metrics["MAP@5"]


VECTORS = Stage(kind="embed", config=Config())
CONFIG = RerankerConfig(learning_rate=0.005, batch_size=20, num_train_epochs=12, patience=12)


def test_from_raw_files_to_scores(data_dir: Path, lists: ListData, made: Job) -> None:
    source = prepared_lists.read(made.out)
    assert made.metadata["fingerprint"] == source.fingerprint
    assert source.attribute_names == ("Drama", "Comedy", "War", "Crime")
    num_users = [source.counts[f"{part} users"] for part in prepared_lists.PARTS]
    assert num_users == [43, 11, 6]
    ordered = {}
    for by in ("given", "popularity", "oracle"):
        stage = order_lists(lists, ListOrderConfig(by=by))  # type: ignore[arg-type]
        ordered[by] = map_at_5(source, run_stage(stage, data_dir, lists=made.out).out)
    bound = float((source.labels[source.rows("test")].sum(axis=1) > 0).mean())
    assert ordered["oracle"] == pytest.approx(bound)
    assert ordered["given"] < ordered["oracle"] - 0.2

    # Texts about users that name their favorite genre.
    favorite = np.array([int(user) % 4 for user in source.user_ids])
    folder = data_dir / "vectors"
    folder.mkdir()
    np.save(folder / "vectors.npy", np.eye(4, dtype=np.float32)[favorite])
    shuffled = replace(CONFIG, shuffle_user_texts=True)
    reached = {}
    for name, config, users in (
        ("none", CONFIG, None),
        ("own", CONFIG, VECTORS),
        ("shuffled", shuffled, VECTORS),
    ):
        stage = rerank_lists(lists, config, seed=0, users=users)
        inputs = {"lists": made.out, "users": folder} if users else {"lists": made.out}
        job = run_stage(stage, data_dir, **inputs)
        reached[name] = map_at_5(source, job.out)
        assert job.metadata["as_published"] is False
        assert job.metadata["train_lists"] == len(source.rows("train"))
        assert job.metadata["valid_lists"] == len(source.rows("valid"))
        assert (job.out / "model.safetensors").is_file()
    assert reached["own"] > reached["none"] + 0.2
    assert reached["own"] > reached["shuffled"] + 0.2


def test_as_published_trains_on_all_and_selects_on_test(
    data_dir: Path, lists: ListData, made: Job
) -> None:
    source = prepared_lists.read(made.out)
    config = replace(CONFIG, num_train_epochs=3, backbone="dlcm", select_on="test")
    job = run_stage(rerank_lists(lists, config, seed=0), data_dir, lists=made.out)
    assert job.metadata["as_published"] is True
    assert job.metadata["train_lists"] == len(source.rows("train", "valid"))
    assert job.metadata["valid_lists"] == job.metadata["test_lists"] == len(source.rows("test"))
    assert map_at_5(source, job.out) == pytest.approx(job.metadata["best_map@5"], abs=1e-6)


def test_vectors_that_do_not_fit_are_refused(data_dir: Path, made: Job) -> None:
    folder = data_dir / "vectors"
    folder.mkdir()
    for vectors, message in (
        (None, "no vectors"),
        (np.ones((3, 4)), "there are 60 users"),
        (np.zeros((60, 4)), "empty for 60 of 60 users"),
    ):
        if vectors is not None:
            np.save(folder / "vectors.npy", vectors)
        with pytest.raises(BenchError, match=message):
            rerank_stage.run(Job(out=data_dir), CONFIG, {"lists": made.out, "users": folder})


def test_texts_are_shuffled_within_parts(made: Job) -> None:
    source = prepared_lists.read(made.out)
    vectors = np.arange(60, dtype=np.float32)[:, None, None]
    owners = shuffle_user_texts(vectors, source, seed=0).ravel().astype(int)
    assert sorted(owners) == list(range(60))
    assert not (owners == np.arange(60)).any()
    assert (source.parts[owners] == source.parts).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shuffle_user_texts": True}, "shuffle_user_texts needs texts about users"),
        ({"num_shared_experts": 3}, "no effect without texts"),
    ],
)
def test_settings_of_texts_are_refused_without_texts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        rerank_lists(ListData(stage=VECTORS), replace(CONFIG, **change), seed=0)


def test_a_card_that_changed_is_refused(data_dir: Path, lists: ListData) -> None:
    config = lists.stage.config
    assert isinstance(config, CandidateListsConfig)
    config = replace(config, fields={**config.fields, "encoding": "iso-8859-1"})
    with pytest.raises(BenchError, match="changed during the run"):
        lists_stage.run(Job(out=data_dir, data_dir=data_dir), config, {})


def test_keys_depend_on_what_decides_the_scores() -> None:
    lists = plan_lists("ml-1m", {})
    stages = [
        rerank_lists(lists, CONFIG, seed=0),
        rerank_lists(lists, CONFIG, seed=1),
        rerank_lists(lists, CONFIG, seed=0, users=VECTORS),
        rerank_lists(lists, CONFIG, seed=0, items=VECTORS),
        rerank_lists(lists, replace(CONFIG, select_on="test"), seed=0),
        order_lists(lists, ListOrderConfig(by="given")),
        order_lists(lists, ListOrderConfig(by="oracle")),
    ]
    assert len({stage.key for stage in stages}) == len(stages)
    # A budget's tolerance for empty texts has no effect without texts.
    lenient = replace(CONFIG, max_empty_fraction=0.5)
    assert rerank_lists(lists, lenient, seed=0).key == stages[0].key
