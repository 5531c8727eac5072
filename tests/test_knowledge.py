"""Knowledge in words: titles, prompts, vectors of long texts, rewards, pairs, and the stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoder import MAX_LENGTH, WIDTH, write_encoder

from bench.config.plugins import dataset_card
from bench.data import prepared_lists
from bench.data.assets import checksums
from bench.errors import BenchError
from bench.hashing import Job
from bench.metrics.evaluate import evaluate_lists
from bench.models.lm.encode.sentence_encoder import Encoder, load_encoder
from bench.models.lm.threads import compute_threads
from bench.models.rerank.knowledge import Pair, Rewards, choose, rewards
from bench.models.rerank.long_text_windows import encode_long
from bench.models.rerank.model import Reranker, Sizes
from bench.models.rerank.prompts import (
    AGES,
    OCCUPATIONS,
    Profile,
    domain,
    entries,
    item_prompt,
    user_prompt,
    user_text,
)
from bench.models.rerank.scoring import Rows
from bench.models.rerank.titles import cleaned, fronted
from bench.models.rerank.vectors import shuffled
from bench.plan import Stage
from bench.plan import rerank_stages as plan
from bench.stages import lists as lists_stage
from bench.stages import rerank as rerank_stage


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1):
        yield


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
    assert fronted(title) == expected


def test_about_as_many_movie_titles_as_documented_have_no_single_bracket(shared_data: Path) -> None:
    path = shared_data / "ml-1m" / "movies.dat"
    titles = [line.split("::")[1] for line in path.read_text(encoding="iso-8859-1").splitlines()]
    assert len(titles) == 3_883
    left = [title for title in titles if title.count("(") != 1]
    assert len(left) == 269
    assert all(fronted(title) == title.strip() for title in left)


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
def test_product_titles_are_mended_or_refused(text: str, expected: str) -> None:
    assert cleaned(text) == expected


# --- prompts --------------------------------------------------------------------------------------


def test_entries_stand_one_behind_the_other() -> None:
    found = entries(['The "Burbs" (1989)', "Heat (1995)"], np.array([2, 5], dtype=np.float32))
    assert found == ("\"The 'Burbs' (1989)\", 2 stars; ", '"Heat (1995)", 5 stars; ')


def test_a_users_prompt_keeps_history_and_request_apart() -> None:
    who = Profile(gender="F", age=25, occupation=12)
    prompt = user_prompt(domain("movie"), ["Heat (1995)"], [5.0], who)
    assert prompt.known.endswith('"Heat (1995)", 5 stars;')
    for phrase in ("woman", AGES[25], "programmer", "viewer"):
        assert phrase in prompt.known
    assert all(factor in prompt.request for factor in domain("movie").factors)
    assert "Heat" not in prompt.request
    assert prompt.text == f"{prompt.known}\n{prompt.request}"
    assert {name: len(domain(name).factors) for name in ("movie", "book", "product")} == {
        "movie": 9,
        "book": 9,
        "product": 6,
    }


def test_without_a_profile_none_is_made_up() -> None:
    prompt = user_prompt(domain("book"), ["Emma"], [4.0])
    assert "reader rated" in prompt.known
    assert not any(phrase in prompt.text for phrase in (*OCCUPATIONS, *AGES.values()))


def test_prompts_have_stable_hashes_of_their_own() -> None:
    one, other = (user_prompt(domain("movie"), ["Heat"], [stars]) for stars in (4.0, 5.0))
    assert one.hash != other.hash
    assert one.hash == user_prompt(domain("movie"), ["Heat"], [4.0]).hash


def test_an_items_prompt_names_the_brand_only_where_it_is_known() -> None:
    assert '"Soap" by Acme' in item_prompt(domain("product"), "Soap", "Acme").text
    assert " by " not in item_prompt(domain("product"), "Soap").text.split(",")[0]


def test_the_text_of_a_user() -> None:
    prompt = user_prompt(domain("movie"), ["Heat"], [5.0])
    assert user_text(prompt, "Likes crime.") == f"{prompt.known} Likes crime."
    assert user_text(prompt, "") == prompt.known
    assert user_text(prompt, "Likes crime.", "answer") == "Likes crime."
    assert prompt.request not in user_text(prompt, "Likes crime.")
    with pytest.raises(BenchError, match="text of a user"):
        user_text(prompt, "", "history")


def test_unknown_codes_and_domains_are_refused() -> None:
    for change in ({"gender": "X"}, {"age": 26}, {"occupation": 21}):
        with pytest.raises(BenchError, match="no user of gender"):
            Profile(**({"gender": "F", "age": 25, "occupation": 0} | change))  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="domain of prompts"):
        domain("movies")


# --- vectors of long texts ------------------------------------------------------------------------


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    write_encoder(tmp_path)
    return load_encoder("tiny", offline=True, data_dir=tmp_path)


SHORT = ["the red house", "a tree", "the river and the sea"]


def test_short_texts_have_the_encoders_own_vectors(encoder: Encoder) -> None:
    for way in ("windows", "truncate"):
        found = encode_long(encoder, SHORT, long_text=way)
        assert found.vectors.dtype == np.float32
        np.testing.assert_allclose(found.vectors, encoder.encode(SHORT), atol=1e-6)
        assert (found.over, found.empty) == (0, 0)


def test_a_long_text_is_the_mean_over_the_tokens_of_its_windows(encoder: Encoder) -> None:
    room = MAX_LENGTH - 2
    words = ("the red house and a tree " * 20).split()[: 2 * room + 3]
    parts = [words[:room], words[room : 2 * room], words[2 * room :]]
    vectors = encoder.encode([" ".join(part) for part in parts])
    lengths = [len(part) + 2 for part in parts]
    expected = np.average(vectors, axis=0, weights=lengths)
    text = " ".join(words)
    found = encode_long(encoder, [text, *SHORT, text])
    np.testing.assert_allclose(found.vectors[0], expected, atol=1e-5)
    assert found.vectors[0].tolist() == found.vectors[4].tolist()
    assert found.over == 2
    cut = encode_long(encoder, [text], long_text="truncate")
    np.testing.assert_allclose(cut.vectors, encoder.encode([text]), atol=1e-6)
    assert cut.over == 1


def test_the_size_of_a_batch_plays_no_part(encoder: Encoder) -> None:
    texts = [*SHORT, "the sea " * 30, "a tree " * 11]
    one, other = (encode_long(encoder, texts, batch=batch).vectors for batch in (1, 100))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_empty_texts_have_vectors_of_zero(encoder: Encoder) -> None:
    found = encode_long(encoder, ["", "a tree", " \n"])
    assert found.vectors.any(axis=1).tolist() == [False, True, False]
    assert found.empty == 2
    assert encode_long(encoder, []).vectors.shape == (0, WIDTH)
    with pytest.raises(BenchError, match="way with long texts"):
        encode_long(encoder, [], long_text="cut")


# --- rewards and pairs ----------------------------------------------------------------------------


def given(ndcg: list[list[float]], losses: list[list[float]] | None = None) -> Rewards:
    gains = np.array(ndcg)
    return Rewards(ndcg=gains, losses=np.zeros(gains.shape) if losses is None else np.array(losses))


def texts_for(rewards: Rewards) -> list[list[str]]:
    return [[f"text {n}" for n in range(len(row))] for row in rewards.ndcg]


def test_the_worked_pair() -> None:
    found = given([[0.2, 0.7, 0.7, 0.1]])
    choice = choose(found, texts_for(found), tie="first")
    assert choice.pairs == (Pair(user=0, chosen=1, rejected=3),)


def test_ties_go_by_loss_then_by_place() -> None:
    gains = [[0.7, 0.7, 0.1, 0.1, 0.7, 0.1]]
    losses = [[0.5, 0.4, 0.8, 0.9, 0.4, 0.9]]
    by_loss = given(gains, losses)
    texts = texts_for(by_loss)
    assert choose(by_loss, texts).pairs == (Pair(user=0, chosen=1, rejected=3),)
    assert choose(by_loss, texts, tie="first").pairs == (Pair(user=0, chosen=0, rejected=2),)
    with pytest.raises(BenchError, match="way with ties"):
        choose(by_loss, texts, tie="last")


def test_users_without_a_preference_have_no_pair() -> None:
    nan = float("nan")
    found = given([[0.5, 0.5], [nan, nan], [0.4, 0.6], [0.4, 0.6], [0.50, 0.52]])
    texts = texts_for(found)
    texts[3] = ["same", "same"]
    choice = choose(found, texts, margin=0.05)
    assert choice.pairs == (Pair(user=2, chosen=1, rejected=0),)
    assert choice.skipped == {
        "no list with a positive": 1,
        "equal texts": 1,
        "equal rewards": 2,
    }
    assert len(choose(found, texts).pairs) == 2


def test_of_equal_texts_the_first_stands_for_all() -> None:
    found = given([[0.3, 0.9, 0.9, 0.3]], [[0.1, 0.5, 0.2, 0.9]])
    choice = choose(found, [["a", "b", "b", "a"]])
    assert choice.pairs == (Pair(user=0, chosen=1, rejected=0),)


def test_rewards_equal_a_loop_over_users_texts_and_lists() -> None:
    numbers = torch.Generator().manual_seed(0)
    items = torch.randint(1, 21, (12, 10), generator=numbers)
    labels = (torch.rand(12, 10, generator=numbers) < 0.3).float()
    labels[3] = 0
    users = torch.tensor([0, 0, 0, 0, 1, 1, 1, 3, 3, 3, 3, 3])
    texts = torch.randn(4, 3, 5, generator=numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Reranker(
            Sizes(
                backbone="prm",
                num_items=20,
                num_attributes=1,
                fields=1,
                text_width=5,
                user_texts=True,
            ),
            torch.ones(21, 1, dtype=torch.int64),
        ).eval()
    rows = Rows(items=items, labels=labels, users=users, user_texts=texts)
    found = rewards(model, rows)
    assert found.ndcg.shape == found.losses.shape == (4, 3)
    assert np.isnan(found.ndcg[2]).all()
    for user in (0, 1, 3):
        for text in range(3):
            gains, losses = [], []
            for number in np.flatnonzero(users.numpy() == user):
                if not labels[number].any():
                    continue
                with torch.no_grad():
                    scored = model(items[number][None], texts[user, text][None])
                    losses.append(model.losses(scored, labels[number][None]).item())
                label = labels[number][None].numpy().astype(np.int8)
                scores = evaluate_lists(scored.numpy(), label, ks=[5])
                gains.append(scores.metrics["NDCG@5"])
            assert found.ndcg[user, text] == pytest.approx(np.mean(gains))
            assert found.losses[user, text] == pytest.approx(np.mean(losses), rel=1e-5)


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
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a card and raw files: everybody gives 5 stars to one genre and 2 to others."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "made-up.toml").write_text(CARD)
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    numbers = np.random.default_rng(0)
    movies = [f"{n}::Movie {n} (1999)::{GENRES[n % 4]}|Short" for n in range(1, NUM_MOVIES + 1)]
    (tmp_path / "movies.dat").write_text("\n".join(movies) + "\n")
    ratings = [
        f"{user}::{movie}::{5 if movie % 4 == user % 4 else 2}::{1_000 + place}"
        for user in range(NUM_USERS)
        for place, movie in enumerate(numbers.permutation(NUM_MOVIES)[:28] + 1)
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(ratings) + "\n")
    return tmp_path


def done(stage: Stage, folder: Path, **inputs: Path) -> Job:
    """Run a stage as a worker would, its plan's arguments and all."""
    out = folder / stage.key
    out.mkdir()
    assert set(stage.inputs) == set(inputs)
    job = Job(out=out, data_dir=folder, offline=True)
    module = {"lists": lists_stage, "rerank": rerank_stage}[stage.kind]
    module.run(job, **json.loads(json.dumps(stage.args)), **inputs)
    return job


def lists_of(folder: Path) -> tuple[Stage, Job]:
    card = dataset_card("made-up")
    stage = plan.lists(
        name="made-up",
        reader=card.reader,
        fields=card.fields,
        checksums=checksums(card, folder),
        cap=8,
        positive_above=3,
        valid_share=0.2,
    )
    return stage, done(stage, folder)


def map_at_5(source: prepared_lists.Lists, folder: Path) -> float:
    rows, scored = prepared_lists.read_scores(folder)
    assert rows.tolist() == source.rows("test").tolist()
    return evaluate_lists(scored, source.labels[rows], ks=[5]).metrics["MAP@5"]


SETTINGS = {
    "backbone": "prm",
    "learning_rate": 0.005,
    "batch": 20,
    "epochs": 12,
    "patience": 12,
    "seed": 0,
}


def test_from_raw_files_to_scores(world: Path) -> None:
    stage, job = lists_of(world)
    source = prepared_lists.read(job.out)
    assert job.facts["fingerprint"] == source.fingerprint
    assert source.attribute_names == ("Drama", "Comedy", "War", "Crime")
    assert [source.counts[f"{part} users"] for part in prepared_lists.PARTS] == [43, 11, 6]
    placed = {
        by: map_at_5(source, done(plan.order(stage, by=by), world, lists=job.out).out)
        for by in ("given", "popularity", "oracle")
    }
    cap = float((source.labels[source.rows("test")].sum(axis=1) > 0).mean())
    assert placed["oracle"] == pytest.approx(cap)
    assert placed["given"] < placed["oracle"] - 0.2

    # A text that names the genre, beside one that says nothing.
    liked = np.array([int(user) % 4 for user in source.user_ids])
    folder = world / "vectors"
    folder.mkdir()
    told = np.eye(4, dtype=np.float32)[liked]
    np.save(folder / "vectors.npy", told)
    vectors = Stage(kind="embed")
    reached = {}
    for name, options in (
        ("alone", {}),
        ("told", {"users": vectors}),
        ("misled", {"users": vectors, "shuffle_users": True}),
    ):
        trained = plan.rerank(stage, **SETTINGS, **options)  # type: ignore[arg-type]
        given = {"users": folder} if "users" in options else {}
        ran = done(trained, world, lists=job.out, **given)
        reached[name] = map_at_5(source, ran.out)
        assert ran.facts["as_published"] is False
        assert ran.facts["train_lists"] == len(source.rows("train"))
        assert ran.facts["choosing_lists"] == len(source.rows("valid"))
        assert (ran.out / "model.safetensors").is_file()
    assert reached["told"] > reached["alone"] + 0.2
    assert reached["told"] > reached["misled"] + 0.2


def test_as_published_learns_from_all_and_chooses_on_test(world: Path) -> None:
    stage, job = lists_of(world)
    source = prepared_lists.read(job.out)
    settings = SETTINGS | {"epochs": 3, "backbone": "dlcm"}
    ran = done(plan.rerank(stage, **settings, as_published=True), world, lists=job.out)  # type: ignore[arg-type]
    assert ran.facts["as_published"] is True
    assert ran.facts["train_lists"] == len(source.rows("train", "valid"))
    assert ran.facts["choosing_lists"] == ran.facts["test_lists"] == len(source.rows("test"))
    best = ran.facts["best_map@5"]
    assert map_at_5(source, ran.out) == pytest.approx(best, abs=1e-6)


def test_vectors_that_do_not_fit_are_refused(world: Path) -> None:
    stage, job = lists_of(world)
    source = prepared_lists.read(job.out)
    trained = plan.rerank(stage, **SETTINGS, users=Stage(kind="embed"))  # type: ignore[arg-type]
    folder = world / "vectors"
    folder.mkdir()
    for vectors, message in (
        (None, "holds no vectors"),
        (np.ones((3, 4)), "where 60 users were asked"),
        (np.zeros((60, 4)), "60 of 60 users have no text"),
    ):
        if vectors is not None:
            np.save(folder / "vectors.npy", vectors)
        texts = {"lists": job.out, "users": folder}
        with pytest.raises(BenchError, match=message):
            rerank_stage.run(Job(out=world), **json.loads(json.dumps(trained.args)), **texts)
    alone = plan.rerank(stage, **SETTINGS, shuffle_users=True)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="no users' texts to shuffle"):
        rerank_stage.run(Job(out=world), **json.loads(json.dumps(alone.args)), lists=job.out)
    everyone = shuffled(np.arange(60, dtype=np.float32)[:, None, None], source, seed=0).ravel()
    assert sorted(everyone) == list(range(60))
    assert not (everyone == np.arange(60)).any()
    assert (source.parts[everyone.astype(int)] == source.parts).all()


def test_a_card_that_changed_is_refused(world: Path) -> None:
    stage, _ = lists_of(world)
    args = json.loads(json.dumps(stage.args))
    args["card"]["fields"]["encoding"] = "iso-8859-1"
    with pytest.raises(BenchError, match="changed during the run"):
        lists_stage.run(Job(out=world, data_dir=world), **args)


def test_keys_depend_on_what_decides_the_scores() -> None:
    raw = plan.lists(
        name="x", reader="movielens", fields={}, checksums={}, cap=30, positive_above=3
    )
    base = plan.rerank(raw, **SETTINGS)  # type: ignore[arg-type]
    keys = {base.key, plan.order(raw, by="given").key, plan.order(raw, by="oracle").key}
    vectors = Stage(kind="embed")
    for change in ({"users": vectors}, {"items": vectors}, {"as_published": True}):
        keys.add(plan.rerank(raw, **SETTINGS, **change).key)  # type: ignore[arg-type]
    assert len(keys) == 6
    assert plan.rerank(raw, **SETTINGS).key == base.key  # type: ignore[arg-type]
    assert replace(base).key == base.key
