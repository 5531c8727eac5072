"""The inner loops never make the host wait for the device, and late masks change no result."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from constrained_models import made_up_prompts, made_up_titles, tiny_llama
from synchronizations import count_synchronizations
from tiny_writer import writer_model, writer_tokenizer

from bench.models.lm.decode import generation_state, tree_cache
from bench.models.lm.decode.beam_search import beam_search
from bench.models.lm.decode.decoding import generate_texts, sample_texts, title_streams
from bench.models.lm.decode.generation_state import GenerationState, find_endings
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.item_search import search_titles
from bench.models.lm.decode.trie import build_trie
from bench.models.lm.train import trainer_setup
from bench.models.lm.train.collate import SFTSamples
from bench.models.lm.train.preference_losses import sdpo
from bench.models.lm.train.preference_trainer import Pair, optimize
from bench.models.lm.train.sft_trainer import fine_tune
from bench.plan.language_stages import DecodingConfig, GenerationConfig, SFTConfig, TrainingConfig
from bench.plan.preference_stages import PreferenceConfig
from bench.stages.pretrain import pretrain

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = [[4, 5, 6, 7, 8], [9, 10], [4], [11, 12, 13, 14]]


def test_the_counter_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.arange(6.0, requires_grad=True)
    with count_synchronizations(monkeypatch) as calls:
        values[torch.tensor([1, 2])].sum().backward()
        values.topk(2).indices.clamp(max=1)
        assert calls == []
        values.detach().tolist()
        values.max().item()
        values[values > 2]
        torch.repeat_interleave(torch.tensor([1, 2]))
    assert calls == ["tolist", "_local_scalar_dense", "index", "repeat_interleave"]


@pytest.fixture
def calls_by_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What synchronizes in each decoding step, from one appended token to the next."""
    # Copies of the cache are rare, and wait; here there is one, in the first step.
    monkeypatch.setattr(tree_cache, "STEPS_AHEAD", 64)
    append = GenerationState.append
    steps: list[list[str]] = []
    with torch.inference_mode(), count_synchronizations(monkeypatch) as calls:

        def counted(state: GenerationState, tokens: Any) -> None:
            append(state, tokens)
            steps.append(list(calls))
            calls.clear()

        monkeypatch.setattr(GenerationState, "append", counted)
        yield steps


@pytest.mark.parametrize("guided", [False, True])
def test_constrained_beams_wait_for_nothing(calls_by_step: list[list[str]], guided: bool) -> None:
    trie = build_trie(made_up_titles(200))
    factors = torch.linspace(0, 1, trie.num_nodes, dtype=torch.float64)
    guidance = Guidance(factors=factors) if guided else Guidance()
    config = DecodingConfig(num_beams=5)
    search_titles(tiny_llama(), made_up_prompts(4), trie, lambda rows: guidance, config)
    assert len(calls_by_step) >= 3
    assert calls_by_step[1:] == [[]] * (len(calls_by_step) - 1)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"temperature": 1.0, "top_k": 5}])
def test_generation_waits_for_nothing(
    calls_by_step: list[list[str]], options: dict[str, Any]
) -> None:
    model, tokenizer = writer_model(), writer_tokenizer()
    config = GenerationConfig(max_new_tokens=8, **options)
    streams = title_streams(len(PROMPTS), config)
    generate_texts(model, tokenizer, PROMPTS, config, streams=streams, titles=True)
    assert len(calls_by_step) >= 3
    assert calls_by_step[1:] == [[]] * (len(calls_by_step) - 1)


@pytest.fixture
def calls_by_training_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What synchronizes in each optimizer step, the reading of the losses left out."""
    monkeypatch.setitem(trainer_setup.LOGGING_STEPS, "cpu", 1000)
    on_step_end = trainer_setup.StepLog.on_step_end
    steps: list[list[str]] = []
    with count_synchronizations(monkeypatch) as calls:

        def counted(log: trainer_setup.StepLog, *arguments: Any, **more: Any) -> None:
            on_step_end(log, *arguments, **more)
            steps.append(list(calls))
            calls.clear()

        monkeypatch.setattr(trainer_setup.StepLog, "on_step_end", counted)
        yield steps


@pytest.mark.parametrize(
    "changes",
    [{}, {"mean_over": "rows"}, {"mean_over": "micro-batch"}, {"counterfactual_weight": 0.1}],
)
def test_fine_tuning_waits_for_nothing(
    calls_by_training_step: list[list[str]], changes: dict[str, Any]
) -> None:
    bare = [[9, 8]] * 16 if changes.get("counterfactual_weight") else None
    samples = SFTSamples(
        prompts=made_up_prompts(16),
        responses=[[5, 6, 7]] * 16,
        bare_prompts=bare,
        groups=[np.array([0, 1, 0])] * 16,
    )
    config = SFTConfig(num_train_epochs=1, batch_size=4, **changes)
    metrics = fine_tune(tiny_llama(), writer_tokenizer(), samples, config, divisor=2)
    assert len(metrics["loss_by_step"]) == 4
    assert calls_by_training_step[1:-1] == [[], []]  # a sampler's order is read on the CPU


def test_pretraining_waits_for_nothing(calls_by_training_step: list[list[str]]) -> None:
    model: Any = SimpleNamespace(model=tiny_llama(), tokenizer=writer_tokenizer())
    config = TrainingConfig(batch_size=4)
    assert pretrain(model, made_up_prompts(16), config, divisor=2)["steps"] == 4
    assert calls_by_training_step[1:-1] == [[], []]


@pytest.mark.parametrize("num_rejected", [1, 3])
def test_preferences_wait_for_nothing(
    calls_by_training_step: list[list[str]], num_rejected: int
) -> None:
    pairs = [
        Pair(
            prompt=prompt,
            chosen=[5, 6],
            rejected=[[7, 8 + number] for number in range(num_rejected)],
            reference=[0.0] * (1 + num_rejected),
        )
        for prompt in made_up_prompts(16)
    ]
    config = PreferenceConfig(num_train_epochs=1, batch_size=4)
    model: Any = SimpleNamespace(model=tiny_llama())
    metrics = optimize(model, pairs, config, loss=sdpo, divisor=2, shared=True)
    assert len(metrics["margin_by_step"]) == 4
    assert calls_by_training_step[1:-1] == [[], []]  # a sampler's order is read on the CPU


def test_late_masks_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = writer_model(), GenerationConfig(max_new_tokens=24, temperature=1.0)
    endings = find_endings(model, writer_tokenizer())
    uniforms = torch.from_numpy(np.random.default_rng(0).random((len(PROMPTS), 24)))
    beams = GenerationConfig(max_new_tokens=12, num_beams=4, num_return_sequences=2)
    trie = build_trie(made_up_titles(60))

    def results() -> tuple[Any, ...]:
        with torch.inference_mode():
            sampled = sample_texts(GenerationState(model, PROMPTS), endings, config, uniforms)
            searched = beam_search(GenerationState(model, PROMPTS), endings, beams)
        lists = search_titles(
            tiny_llama(),
            made_up_prompts(9),
            trie,
            lambda rows: Guidance(),
            DecodingConfig(num_beams=3, max_num_beams=12),
        )
        return sampled, [text for row in searched for text in row], lists

    at_once = results()
    monkeypatch.setitem(generation_state.LAG, "cpu", 2)
    late = results()
    for expected, actual in zip(at_once[:2], late[:2], strict=True):
        assert [text.ids for text in actual] == [text.ids for text in expected]
        scores = [text.score for text in expected]
        assert [text.score for text in actual] == pytest.approx(scores, abs=1e-4)
    for name in ("leaves", "certified", "widths"):
        assert np.array_equal(getattr(late[2], name), getattr(at_once[2], name))
    np.testing.assert_allclose(late[2].scores, at_once[2].scores, atol=1e-4)
