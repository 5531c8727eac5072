"""Texts that share their prompt's keys and values: equal to each alone, in several families."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_writer import writer_model, writer_tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from bench.models.lm.decode.decoding import sample_texts
from bench.models.lm.decode.generation_state import GenerationState, find_endings, shares_prompts
from bench.models.lm.decode.tree_cache import STEPS_AHEAD, Tree
from bench.models.lm.devices import compute_threads
from bench.plan.language_stages import GenerationConfig

SIZES = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}
PROMPTS = [[4, 5, 6, 7, 8], [9, 10], [4], [11, 12, 13, 14]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1), torch.inference_mode():
        yield


def family(name: str, attention: str = "sdpa", **settings: Any) -> nn.Module:
    """A random model in float64, so that only what is wrong differs."""
    own = {"head_dim": 8} if name == "qwen3" else {}
    config = AutoConfig.for_model(name, **SIZES, **own, attn_implementation=attention, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).double().eval()


def alone(model: nn.Module, texts: list[list[int]]) -> Tensor:
    return torch.stack([model(input_ids=torch.tensor([ids])).logits[0, -1] for ids in texts])


def tree_of(state: GenerationState) -> Tree:
    assert state._tree is not None
    return state._tree


def wander(model: nn.Module, numbers: np.random.Generator, steps: int) -> int:
    """Drop, double and reorder texts at random; compare with each alone; return the most texts."""
    state, texts, most = GenerationState(model, PROMPTS), [list(ids) for ids in PROMPTS], 0
    for step in range(steps):
        if step % 3 != 2:
            size = numbers.integers(1, 9)
            rows = numbers.integers(len(texts), size=size).tolist()
            state.take(torch.tensor(rows))
            texts = [list(texts[row]) for row in rows]
        tokens = numbers.integers(4, 20, size=len(texts))
        state.append(torch.from_numpy(tokens))
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)
        most = max(most, len(texts))
        assert len(state) == len(texts)
        close = 1e-9 if state.logits.dtype == torch.float64 else 1e-4
        torch.testing.assert_close(state.logits, alone(model, texts), rtol=0, atol=close)
    return most


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_texts_have_the_logits_of_texts_alone(name: str, attention: str) -> None:
    settings = {"sliding_window": None} if name == "mistral" else {}
    model = family(name, attention, **settings)
    if attention == "eager":  # in float64 transformers' own makes padding no numbers
        model = model.float()
    assert shares_prompts(model)
    for seed in range(4):
        assert wander(model, np.random.default_rng(seed), steps=12) > 4


def test_a_window_makes_copies() -> None:
    model = family("mistral", sliding_window=4)
    assert not shares_prompts(model)
    wander(model, np.random.default_rng(0), steps=8)


def test_texts_outlive_the_room_there_was() -> None:
    model = family("llama")
    state, texts = GenerationState(model, PROMPTS), [[*ids] for ids in PROMPTS for _ in range(3)]
    state.take(torch.arange(4).repeat_interleave(3))
    numbers = np.random.default_rng(1)
    for _ in range(2 * STEPS_AHEAD + 3):
        tokens = numbers.integers(4, 20, size=12)
        state.append(torch.from_numpy(tokens))
        texts = [[*text, token] for text, token in zip(texts, tokens.tolist(), strict=True)]
    torch.testing.assert_close(state.logits, alone(model, texts), rtol=0, atol=1e-9)


def test_a_prompt_is_kept_once_and_left_when_nobody_goes_on_from_it() -> None:
    state = GenerationState(family("llama"), PROMPTS)
    longest, steps = max(map(len, PROMPTS)), 3
    state.take(torch.arange(4).repeat_interleave(10))
    for _ in range(steps):
        state.append(torch.full((40,), 7))
    layer: Any = tree_of(state).cache.layers[0]
    assert layer.keys.shape[:2] == (4, 2)
    assert tree_of(state).num_slots == longest + 10 * steps
    state.take(torch.arange(30, 40))  # the last prompt's
    assert layer.keys.shape[0] == 1
    state.take(torch.tensor([0, 0]))
    for _ in range(STEPS_AHEAD * 10):  # beyond what there was room for
        state.append(torch.full((2,), 7))
    # Nine of ten branches were left behind.
    assert tree_of(state).num_slots < 4 + 10 + 2 * STEPS_AHEAD * 10
    assert layer.keys.shape[:2] == (1, 2)


def test_what_is_not_needed_any_more_is_freed_at_once() -> None:
    state = GenerationState(family("llama"), PROMPTS)
    read = weakref.ref(tree_of(state).cache.layers[0].keys)
    gc.disable()
    try:
        state.append(torch.full((4,), 7))
        assert read() is None, "the prompts' keys were copied to where there is room"
        copied = weakref.ref(tree_of(state).cache.layers[0].keys)
        assert copied() is not None
        del state
        assert copied() is None
    finally:
        gc.enable()


def test_the_models_own_attention_is_put_back() -> None:
    model: Any = family("llama")
    state = GenerationState(model, PROMPTS)
    state.append(torch.full((4,), 7))
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(IndexError):
        state.append(torch.full((4,), 99))  # no such token
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_draws_of_one_reading_are_those_of_readings_apart(temperature: float) -> None:
    model, num = writer_model(), 10
    ends = find_endings(model, writer_tokenizer())
    numbers = torch.from_numpy(np.random.default_rng(0).random((len(PROMPTS) * num, 24)))
    config = GenerationConfig(max_new_tokens=24, temperature=temperature)
    shared = GenerationState(model, PROMPTS)
    shared.take(torch.arange(len(PROMPTS)).repeat_interleave(num))
    together = sample_texts(shared, ends, config, numbers)
    assert len({len(text.ids) for text in together}) > 5, "texts should end at different times"
    for place, text in enumerate(together):
        own = numbers[place : place + 1]
        alone = GenerationState(model, [PROMPTS[place // num]])
        [other] = sample_texts(alone, ends, config, own)
        assert text.ids == other.ids
        assert text.score == pytest.approx(other.score, abs=1e-5 * len(text.ids))
