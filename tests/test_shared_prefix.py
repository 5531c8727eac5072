"""Shared prompts: the same log-probabilities and gradients as one sequence an answer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bench.models.lm.train.shared_prefix import (
    Row,
    lay_out,
    log_probabilities,
    takes_branches,
    visible,
)

VOCABULARY = 97
# float32 sums of up to five log-probabilities near ln 97 = 4.6; a wrong mask moves them by 1e-2.
TOLERANCE = 1e-4
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "attn_implementation": "sdpa",
}


def built(config_class, model_class, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model_class(config_class(**SIZES, **changes)).eval()


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    return built(LlamaConfig, LlamaForCausalLM)


@pytest.fixture(scope="module")
def adapted(llama):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = get_peft_model(
            copy.deepcopy(llama),
            LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.3),
        )
        for name, value in model.named_parameters():
            if "lora_B" in name:  # a new adapter does nothing yet
                torch.nn.init.normal_(value, std=0.3)
    return model.eval()


def rows(lengths: Sequence[tuple[int, Sequence[int]]], seed: int = 0) -> list[Row]:
    numbers = np.random.default_rng(seed)

    def ids(length: int) -> list[int]:
        return numbers.integers(3, VOCABULARY, length).tolist()

    return [Row(ids(prompt), [ids(answer) for answer in answers]) for prompt, answers in lengths]


ROWS = rows([(9, (3, 1, 7, 2)), (20, (5, 6)), (1, (2, 2, 2)), (4, (1,))])


def one_by_one(model, row: Row, answer: Sequence[int]) -> Tensor:
    """The log-probability by the book: one sequence, the whole head, token after token."""
    logits = model(torch.tensor([[*row.prompt, *answer]]), use_cache=False).logits[0]
    logps = logits.float().log_softmax(-1)
    first = len(row.prompt) - 1
    return sum(logps[first + place, token] for place, token in enumerate(answer))


def by_the_book(model, some: Sequence[Row]) -> Tensor:
    expected = torch.zeros(len(some), max(len(row.answers) for row in some))
    with torch.no_grad():
        for number, row in enumerate(some):
            for place, answer in enumerate(row.answers):
                expected[number, place] = one_by_one(model, row, answer)
    return expected


def test_a_layout_in_full() -> None:
    found = lay_out([Row([5, 6], [[7, 8], [9]]), Row([4], [[3]])], shared=True, pad=2)
    assert found.tokens.tolist() == [[5, 6, 7, 8, 9], [4, 3, 2, 2, 2]]
    assert found.positions.tolist() == [[0, 1, 2, 3, 2], [0, 1, 0, 0, 0]]
    assert found.segments.tolist() == [[0, 0, 1, 1, 2], [0, 1, -1, -1, -1]]
    assert found.predictors.tolist() == [1, 2, 1, 5]
    assert found.targets.tolist() == [7, 8, 9, 3]
    assert found.cells.tolist() == [[0, 1], [2, 4], [3, 4]]
    assert found.distinct.tolist() == [[0, 1], [2, 0]]
    assert found.mask.tolist() == [[True, True], [True, False]]
    apart = lay_out([Row([5, 6], [[7, 8], [9]]), Row([4], [[3]])], shared=False, pad=2)
    assert apart.tokens.tolist() == [[5, 6, 7, 8], [5, 6, 9, 2], [4, 3, 2, 2]]
    assert apart.predictors.tolist() == [1, 2, 5, 8]
    for name in ("targets", "cells", "distinct", "mask"):
        assert torch.equal(getattr(apart, name), getattr(found, name))


def test_who_sees_whom() -> None:
    seen = visible(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("which", ["llama", "adapted"])
def test_log_probabilities_are_those_of_the_book(which, shared, request) -> None:
    model = request.getfixturevalue(which)
    expected = by_the_book(model, ROWS)
    with torch.no_grad():
        together = log_probabilities(model, lay_out(ROWS, shared=shared))
        alone = [log_probabilities(model, lay_out([row], shared=shared))[0] for row in ROWS]
    # No answer has more than 7 tokens: 1e-5 of a whole sum is stricter than 1e-5 a token.
    torch.testing.assert_close(together, expected, atol=TOLERANCE, rtol=0)
    for number, logps in enumerate(alone):
        torch.testing.assert_close(logps, expected[number, : len(logps)], atol=TOLERANCE, rtol=0)
    assert (together[~lay_out(ROWS, shared=shared).mask] == 0).all()


def test_an_adapter_matters(llama, adapted) -> None:
    with torch.no_grad():
        plain, other = (log_probabilities(m, lay_out(ROWS, shared=True)) for m in (llama, adapted))
    assert (plain - other).abs().max() > 0.1


@pytest.mark.parametrize("which", ["llama", "adapted"])
def test_gradients_agree(which, request) -> None:
    model = request.getfixturevalue(which)
    trained = [value for value in model.parameters() if value.requires_grad]
    signs = torch.tensor([1.0, -0.5, 0.3, -0.2])
    found = []
    for shared in (True, False):
        layout = lay_out(ROWS, shared=shared)
        loss = (log_probabilities(model, layout) * signs).sum()
        found.append(torch.autograd.grad(loss, trained, allow_unused=True))
    loss = sum(
        signs[place] * one_by_one(model, row, answer)
        for row in ROWS
        for place, answer in enumerate(row.answers)
    )
    expected = torch.autograd.grad(loss, trained, allow_unused=True)
    assert sum(gradient is not None for gradient in expected) > 5
    for gradients in found:
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_padding_matters_to_nobody(llama) -> None:
    long = rows([(60, (9, 9, 9))], seed=1)
    with torch.no_grad():
        alone = log_probabilities(llama, lay_out(ROWS, shared=True))
        padded = log_probabilities(llama, lay_out([*ROWS, *long], shared=True))
        other = log_probabilities(llama, lay_out([*ROWS, *long], shared=True, pad=VOCABULARY - 1))
    assert torch.equal(padded, other)
    torch.testing.assert_close(padded[: len(ROWS)], alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("shared", [True, False])
def test_an_answer_does_not_see_the_others(llama, shared) -> None:
    prompt, answers = ROWS[0]
    changed = Row(prompt, [answers[0], [4] * 7, answers[2], answers[3]])
    with torch.no_grad():
        one, other = (
            log_probabilities(llama, lay_out([row], shared=shared))[0] for row in (ROWS[0], changed)
        )
    kept = torch.tensor([True, False, True, True])
    torch.testing.assert_close(one[kept], other[kept], atol=TOLERANCE, rtol=0)
    assert abs(one[1] - other[1]) > 0.1


@pytest.mark.parametrize("shared", [True, False])
def test_equal_answers_are_equal_to_the_bit(llama, shared) -> None:
    prompt, answers = ROWS[0]
    row = Row(prompt, [answers[0], answers[1], list(answers[0])])
    logps = log_probabilities(llama, lay_out([row], shared=shared))
    assert logps[0, 0] == logps[0, 2] != logps[0, 1]
    gradients = torch.autograd.grad(logps[0, 0] - logps[0, 2], llama.parameters())
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize(
    ("config_class", "model_class", "changes", "takes"),
    [
        (Qwen2Config, Qwen2ForCausalLM, {}, True),
        (MistralConfig, MistralForCausalLM, {"sliding_window": None}, True),
        (MistralConfig, MistralForCausalLM, {"sliding_window": 25}, True),
        (MistralConfig, MistralForCausalLM, {"sliding_window": 24}, False),
        (GemmaConfig, GemmaForCausalLM, {"head_dim": 8}, False),
    ],
)
def test_other_families(config_class, model_class, changes, takes) -> None:
    """A window that a prompt with its longest answer outgrows, and unknown heads, stay apart."""
    model = built(config_class, model_class, **changes)
    some = [row for row in ROWS if len(row.prompt) + max(map(len, row.answers)) <= 26]
    assert takes_branches(model.config, 25) == takes
    with torch.no_grad():
        found = log_probabilities(model, lay_out(some, shared=takes))
    torch.testing.assert_close(found, by_the_book(model, some), atol=TOLERANCE, rtol=0)


def test_added_masks_are_for_eager_attention(llama) -> None:
    eager = copy.deepcopy(llama)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        found = [log_probabilities(m, lay_out(ROWS, shared=True)) for m in (llama, eager)]
    torch.testing.assert_close(*found, atol=TOLERANCE, rtol=0)
