"""Questions, answers drawn from a language model, preferences between them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from test_lists import make_prepared
from tiny_encoder import write_encoder
from tiny_writer import END, Table, write_backbone, writer_model, writer_tokenizer

from bench.data import prepared_lists
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.decode.decoding import (
    Generated,
    answer_streams,
    generate_texts,
    truncate,
)
from bench.models.lm.encode.sentence_encoder import Trigrams, encode_long_texts
from bench.models.lm.tokenization import Prompt, encode_answers, encode_questions
from bench.models.rerank.qa_files import (
    Answers,
    Questions,
    load_answers,
    load_questions,
    save_answers,
    save_questions,
)
from bench.plan.knowledge_stages import (
    RewardPairsConfig,
    TextVectorsConfig,
    encode_answer_vectors,
    sample_reward_pairs,
    write_questions,
)
from bench.plan.language_stages import GenerationConfig, generate
from bench.plan.preference_stages import PreferenceConfig, optimize_preferences
from bench.plan.rerank_stages import RerankerConfig
from bench.plan.stage import Stage
from bench.plan.types import ListData, Model, Pairs, Policy
from bench.stages import text_vectors

pytestmark = pytest.mark.usefixtures("one_thread")

FULL = {"kind": "full"}
LETTERS = "abcdefghijkl"


def make_questions(num: int = 6, *, entries: int = 3) -> Questions:
    prompts = [
        Prompt(
            opening="a b ",
            entries=tuple(f"{LETTERS[(n + k) % 12]} " for k in range(entries)),
            request="c d",
        )
        for n in range(num)
    ]
    return Questions(indices=np.arange(num), prompts=tuple(prompts))


# --- questions ------------------------------------------------------------------------------------


def test_a_question_loses_its_oldest_entries_until_it_fits() -> None:
    tokenizer = writer_tokenizer()
    (prompt,) = make_questions(1, entries=12).prompts
    (whole,), none_cut = encode_questions(tokenizer, [prompt], max_lengths=[100])
    (exact,), _ = encode_questions(tokenizer, [prompt], max_lengths=[len(whole)])
    assert exact == whole
    assert none_cut == 0
    (cut,), num_cut = encode_questions(tokenizer, [prompt], max_lengths=[len(whole) - 3])
    assert num_cut == 1
    assert (
        cut
        == encode_questions(
            tokenizer, [replace(prompt, entries=prompt.entries[3:])], max_lengths=[100]
        )[0][0]
    )
    with pytest.raises(BenchError, match="4 fit"):
        encode_questions(tokenizer, [prompt], max_lengths=[4])


def test_a_model_with_a_form_for_questions_is_asked_in_it() -> None:
    tokenizer = writer_tokenizer()
    (plain,), _ = encode_questions(tokenizer, [Prompt(request="a b")], max_lengths=[99])
    assert tokenizer.decode(plain).startswith("<s> a b")
    tokenizer.chat_template = "{% for m in messages %}k {{ m.content }} l{% endfor %}"
    (chat,), _ = encode_questions(tokenizer, [Prompt(request="a b")], max_lengths=[99])
    assert tokenizer.decode(chat) == "k a b l"


def test_only_finished_answers_end_in_the_end() -> None:
    tokenizer = writer_tokenizer()
    whole, torn = encode_answers(tokenizer, ["a b", "a b"], [True, False])
    assert whole == [*torn, tokenizer.eos_token_id]
    assert encode_answers(tokenizer, [], []) == []


def test_questions_and_answers_are_read_back(tmp_path: Path) -> None:
    some = make_questions()
    save_questions(some, tmp_path)
    loaded = load_questions(tmp_path)
    assert loaded.prompts == some.prompts
    assert loaded.indices.tolist() == list(range(6))
    texts = Answers(texts=(("x", ""),) * 6, finished=((True, False),) * 6)
    save_answers(some, texts, tmp_path)
    assert load_answers(tmp_path, some) == texts
    with pytest.raises(BenchError, match="answers to other questions"):
        load_answers(tmp_path, make_questions(entries=2))
    with pytest.raises(BenchError, match="has no questions"):
        load_questions(tmp_path / "nowhere")


def answer(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Sequence[int]],
    hashes: Sequence[str],
    how: GenerationConfig,
    divisor: int = 1,
) -> list[Generated]:
    streams = answer_streams(hashes, how)
    return generate_texts(
        model, tokenizer, questions, how, streams=streams, titles=False, divisor=divisor
    )


# --- drawing --------------------------------------------------------------------------------------


def test_the_nucleus_by_hand() -> None:
    logits = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()

    def kept(**how: float) -> list[bool]:
        cut = truncate(logits, GenerationConfig(max_new_tokens=1, **{"temperature": 1.0, **how}))  # type: ignore[arg-type]
        return torch.isfinite(cut).tolist()

    assert kept(top_k=2) == [True, False, True, False]
    assert kept(top_p=0.49) == [True, False, False, False]
    assert kept(top_p=0.51) == [True, False, True, False]
    assert kept(top_k=3) in ([True, True, True, False], [True, False, True, True])
    # Of the two likeliest the first has 5/8; at a temperature of 0.1 nearly everything.
    assert kept(top_k=2, top_p=0.65) == [True, False, True, False]
    assert kept(top_k=2, top_p=0.65, temperature=0.1) == [True, False, False, False]
    assert kept() == [True] * 4


def test_frequencies_are_those_of_the_nucleus() -> None:
    words = ["<s>", END, "<pad>", "<unk>", "a", "b", "c"]
    table = Table(words, {"<s>": {"a": 0.5, "b": 0.3, "c": 0.2}})
    how = GenerationConfig(max_new_tokens=3, temperature=1.0, top_p=0.8, num_return_sequences=4000)
    (found,) = answer(table, table.tokenizer, [[0]], ["ab" * 32], how)
    counts = {word: found.texts.count(word) / 4000 for word in "abc"}
    assert counts["c"] == 0
    assert counts["a"] == pytest.approx(5 / 8, abs=0.03)
    assert all(found.finished)
    assert set(found.num_tokens) == {2}


def test_draws_depend_on_nothing_but_question_seed_and_number() -> None:
    model, tokenizer = writer_model(), writer_tokenizer()
    some = make_questions(5)
    names = [prompt.hash for prompt in some.prompts]
    ids, _ = encode_questions(tokenizer, some.prompts, max_lengths=[99] * 5)

    def drawn(rows: list[int], **how: int) -> list[tuple[str, ...]]:
        num = how.pop("num")
        settings = {"max_new_tokens": 6, "temperature": 0.9, "top_k": 8, "top_p": 0.9, **how}
        chosen = GenerationConfig(**settings, num_return_sequences=num)  # type: ignore[arg-type]
        given = [ids[row] for row in rows], [names[row] for row in rows]
        return [one.texts for one in answer(model, tokenizer, *given, chosen, divisor=2**14 // 60)]

    ten = drawn([0, 1, 2, 3, 4], num=10)
    assert [row[:4] for row in ten] == drawn([0, 1, 2, 3, 4], num=4)
    assert drawn([3, 1], num=10) == [ten[3], ten[1]]
    assert len({text for row in ten for text in row}) > 20
    assert drawn([0], num=10, seed=1) != [ten[0]]
    likeliest = drawn([0, 1], num=1, temperature=0)
    assert likeliest == drawn([0, 1], num=1, temperature=0, seed=3)


def test_quotes_do_not_end_an_answer() -> None:
    words = ["<s>", END, "<pad>", "<unk>", '"', "a"]
    table = Table(words, {"<s>": {'"': 1.0}, '"': {"a": 1.0}, "a": {'"': 1.0}})
    how = GenerationConfig(max_new_tokens=7)
    (found,) = answer(table, table.tokenizer, [[0]], ["0" * 64], how)
    assert found.texts[0].replace(" ", "") == '"a"a"a"'
    assert found.finished == (False,)


# --- the stages -----------------------------------------------------------------------------------

MODEL = Model(name="writer", backbone=Stage(kind="hub"), tuning=FULL, context=96)
LISTS = ListData(stage=Stage(kind="lists"), domain="movie")
PAIRS = Pairs(stage=Stage(kind="reward_pairs"), questions=Stage(kind="questions"))


def test_a_style_of_title_prompts_is_refused_for_answers() -> None:
    with pytest.raises(BenchError, match="prompt_style is for title prompts"):
        optimize_preferences(MODEL, PAIRS, PreferenceConfig(prompt_style="bare"), seed=0)


def done(stage: Stage, folder: Path, **inputs: Path) -> Job:
    """Run a stage as a worker would, its plan's arguments and all."""
    module = importlib.import_module(f"bench.stages.{stage.kind}")
    assert set(stage.inputs) == set(inputs)
    job = Job(out=folder / f"{stage.kind}-{stage.key}", data_dir=folder, offline=True)
    job.out.mkdir(exist_ok=True)
    module.run(job, stage.config, inputs)
    return job


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with lists, a backbone and an encoder."""
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    write_encoder(tmp_path)
    (tmp_path / "lists").mkdir()
    prepared_lists.write(make_prepared(), tmp_path / "lists")
    write_backbone(tmp_path / "writer", context=512)
    return tmp_path


def test_from_questions_to_a_tuned_model(world: Path) -> None:
    source = prepared_lists.read(world / "lists")
    prompts = write_questions(LISTS, "users", ("train", "valid"))
    asked_job = done(prompts, world, lists=world / "lists")
    found = load_questions(asked_job.out)
    assert set(source.parts[found.indices]) == {0, 1}
    for user, prompt in zip(found.indices, found.prompts, strict=True):
        history, _ = source.history(int(user))
        assert len(prompt.entries) == len(history) > 0
        assert all(
            f'"{source.titles[item]}"' in one
            for item, one in zip(history, prompt.entries, strict=True)
        )
    long = Model(name="w", backbone=MODEL.backbone, tuning=FULL, context=400)
    config = GenerationConfig(
        max_new_tokens=5, temperature=1.0, top_k=9, top_p=0.9, num_return_sequences=3
    )
    drawn = generate(long, prompts, config, seed=1)
    given = {"prompts": asked_job.out, "backbone": world / "writer"}
    written = done(drawn, world, **given)
    assert written.metadata["questions"] == len(found)
    assert written.metadata["histories_cut"] == 0
    texts = load_answers(written.out, found).texts
    assert {len(own) for own in texts} == {3}
    encoding = TextVectorsConfig(encoder="trigrams", user_text="answer")
    encoded = encode_answer_vectors(LISTS, prompts, drawn, "users", encoding)
    inputs = {"lists": world / "lists", "prompts": asked_job.out, "answers": written.out}
    vectors = done(encoded, world, **inputs)
    table = np.load(vectors.out / "vectors.npy")
    assert table.shape[:2] == (len(source.user_ids), 3)
    assert (table == 0).all(axis=(1, 2)).tolist() == (source.parts == 2).tolist()

    reranker = RerankerConfig(learning_rate=5e-3, batch_size=16, num_train_epochs=8, patience=8)
    for folds in (1, 2):
        preferences = sample_reward_pairs(
            LISTS,
            prompts,
            drawn,
            encoded,
            RewardPairsConfig(num_folds=folds),
            reranker=reranker,
            seed=0,
        )
        pairs = done(preferences.stage, world, users=vectors.out, **inputs)
        rows = pq.read_table(pairs.out / "pairs.parquet").to_pydict()
        assert len(rows["prompt"]) == pairs.metadata["pairs"] > 5
        # No validation or test user is ever among those who prefer.
        assert {int(source.parts[found.indices[row]]) for row in rows["prompt"]} == {0}
        for row, chosen, (rejected,) in zip(
            rows["prompt"], rows["chosen"], rows["rejected"], strict=True
        ):
            assert chosen != rejected
            assert {chosen, rejected} <= set(texts[row])
        assert pairs.metadata["worst_reward"] < pairs.metadata["best_reward"]
        assert len([name for name in pairs.metadata if name.startswith("reward_model")]) == folds

    config = PreferenceConfig(num_train_epochs=2, learning_rate=1e-3, warmup_steps=0)
    tuned = optimize_preferences(long, preferences, config, seed=0).weights
    assert tuned is not None
    trained = done(tuned, world, pairs=pairs.out, **given)
    assert trained.metadata["pairs"] == pairs.metadata["pairs"]
    losses = trained.metadata["loss_by_step"]
    assert losses[0] == pytest.approx(0.693147, abs=1e-5)  # type: ignore[index]
    assert losses[-1] < 0.69  # type: ignore[index,operator]
    before = load_file(world / "writer" / "model.safetensors")
    after = load_file(trained.out / "model.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in after)


def test_items_are_described_once_each(world: Path) -> None:
    source = prepared_lists.read(world / "lists")
    prompts = write_questions(LISTS, "items", ("test",))
    job = done(prompts, world, lists=world / "lists")
    found = load_questions(job.out)
    assert found.indices.tolist() == np.unique(source.items[source.rows("test")]).tolist()
    texts = Answers(texts=(("the sea",),) * len(found), finished=((True,),) * len(found))
    (world / "written").mkdir()
    save_answers(found, texts, world / "written")
    drawn = Stage(kind="generate")
    encoding = TextVectorsConfig(encoder="tiny")
    encoded = encode_answer_vectors(LISTS, prompts, drawn, "items", encoding)
    inputs = {"lists": world / "lists", "prompts": job.out, "answers": world / "written"}
    table = np.load(done(encoded, world, **inputs).out / "vectors.npy")
    assert table.ndim == 2
    assert len({row.tobytes() for row in table[found.indices]}) == 1
    twice = Answers(texts=(("a", "b"),) * len(found), finished=((True, True),) * len(found))
    save_answers(found, twice, world / "written")
    with pytest.raises(BenchError, match="Items have 2 answers each"):
        config = encoded.config
        assert isinstance(config, TextVectorsConfig)
        text_vectors.run(Job(out=world), config, inputs)


def test_pairs_that_cannot_be_learned_from_are_left_out(world: Path) -> None:
    prompts = make_questions(3)
    save_questions(prompts, world)
    rows = {
        "prompt": [0, 1, 2],
        "hash": [prompt.hash for prompt in prompts.prompts],
        "chosen": ["a b", "c", "d " * 600],
        "chosen_finished": [True, False, True],
        "rejected": [["b"], [""], ["a"]],
        "rejected_finished": [[True], [False], [True]],
        "smoothing": [0.0] * 3,
    }

    pq.write_table(pa.table(rows), world / "pairs.parquet")
    tuned = optimize_preferences(MODEL, PAIRS, PreferenceConfig(), seed=0).weights
    assert tuned is not None
    given = {"prompts": world, "pairs": world, "backbone": world / "writer"}
    job = done(tuned, world, **given)
    assert (job.metadata["pairs"], job.metadata["pairs_left_out"]) == (1, 2)
    rows["hash"][0] = "0"
    pq.write_table(pa.table(rows), world / "pairs.parquet")
    with pytest.raises(AssertionError, match="pairs of other questions"):
        done(tuned, world, **given)


def test_a_context_beyond_the_model_is_refused(world: Path) -> None:
    save_questions(make_questions(2), world)
    for context, tokens in ((1024, 8), (96, 96)):
        model = Model(name="w", backbone=MODEL.backbone, tuning=FULL, context=context)
        config = GenerationConfig(max_new_tokens=tokens, temperature=1.0)
        stage = generate(model, Stage(kind="questions"), config)
        with pytest.raises(BenchError, match=f"context of {context} tokens"):
            done(stage, world, prompts=world, backbone=world / "writer")


def test_the_reference_of_a_round_is_its_start_or_the_base() -> None:
    config = PreferenceConfig()
    base = Policy(model=MODEL)
    first = optimize_preferences(base, PAIRS, config, seed=0, reference=base)
    assert first.weights is not None
    assert first.weights.args["reference"] == "start"
    second = optimize_preferences(first, PAIRS, config, seed=0, reference=base)
    assert second.weights is not None
    assert second.weights.args["reference"] == "backbone"
    assert second.weights.inputs["start"] is first.weights
    other = optimize_preferences(second, PAIRS, config, seed=0, reference=first)
    assert other.weights is not None
    assert other.weights.inputs["reference"] is first.weights


def test_windows_of_letters_for_the_encoder_without_files() -> None:
    trigrams = Trigrams(max_length=10)
    texts = ["abcdefghijklmnopqrst", "abcdefghij", " "]
    found = encode_long_texts(trigrams, texts)
    halves = trigrams.encode(["abcdefghij", "klmnopqrst"])
    np.testing.assert_allclose(found.vectors[0], halves.mean(axis=0))
    np.testing.assert_allclose(found.vectors[1], halves[0])
    assert not found.vectors[2].any()
    assert (found.num_long, found.num_empty) == (1, 1)
    cut = encode_long_texts(trigrams, texts, long_text="truncate")
    np.testing.assert_allclose(cut.vectors[0], halves[0])
