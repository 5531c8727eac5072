"""The inner loops never make the host wait for the device, and late masks change no result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from constrained_models import made_up_prompts, made_up_titles, tiny_llama
from synchronizations import count_synchronizations
from tiny_writer import writer_model, writer_tokenizer

from bench.models.lm.decode import lagged_mask, tree_cache
from bench.models.lm.decode.beam_search import beam_search
from bench.models.lm.decode.decoding import generate_texts, title_streams
from bench.models.lm.decode.generation_state import GenerationState, find_endings
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.item_search import search_titles
from bench.models.lm.decode.sampling import sample_texts
from bench.models.lm.decode.trie import build_trie
from bench.models.lm.threads import compute_threads
from bench.plan.decoding_stages import DecodingConfig
from bench.plan.language_stages import GenerationConfig

PROMPTS = [[4, 5, 6, 7, 8], [9, 10], [4], [11, 12, 13, 14]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1):
        yield


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
    monkeypatch.setitem(lagged_mask.LAG, "cpu", 2)
    late = results()
    for expected, actual in zip(at_once[:2], late[:2], strict=True):
        assert [text.ids for text in actual] == [text.ids for text in expected]
        scores = [text.score for text in expected]
        assert [text.score for text in actual] == pytest.approx(scores, abs=1e-4)
    for name in ("leaves", "certified", "widths"):
        assert np.array_equal(getattr(late[2], name), getattr(at_once[2], name))
    np.testing.assert_allclose(late[2].scores, at_once[2].scores, atol=1e-4)
