"""Models for constrained decoding: tables of probabilities, and a tiny random Llama."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 40
Table = Mapping[tuple[int, ...], Mapping[int, float]]


class Tables:
    """Generation state whose logits are looked up by prefix, one table per row."""

    def __init__(self, tables: Sequence[Table], vocabulary: int = VOCABULARY) -> None:
        self.tables, self.vocabulary = tables, vocabulary
        self.sequences: list[tuple[int, tuple[int, ...]]] = [
            (row, ()) for row in range(len(tables))
        ]
        self.widths: list[int] = []

    def extend(self, rows: Tensor, tokens: Tensor, owners: NDArray[np.int64]) -> None:
        before = [self.sequences[row] for row in rows.tolist()]
        self.sequences = [
            (row, (*prefix, token))
            for (row, prefix), token in zip(before, tokens.tolist(), strict=True)
        ]
        assert [row for row, _ in self.sequences] == owners.tolist()
        self.widths.append(len(self.sequences))

    @property
    def logits(self) -> Tensor:
        logits = torch.full((len(self.sequences), self.vocabulary), -math.inf)
        for index, (row, prefix) in enumerate(self.sequences):
            for token, probability in self.tables[row][prefix].items():
                logits[index, token] = math.log(probability)
        # A softmax does not change when all logits are shifted.
        return logits + 3


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            initializer_range=0.5,
        )
        return LlamaForCausalLM(config).eval()


def made_up_titles(num: int, seed: int = 0) -> list[list[int]]:
    """Titles that share beginnings, end in token 0, and are not all distinct."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, 7, size=num)
    return [[*(1 + numbers.zipf(1.7, size) % (VOCABULARY - 1)).tolist(), 0] for size in lengths]


def made_up_prompts(num: int, seed: int = 0) -> list[list[int]]:
    numbers = np.random.default_rng(seed)
    return [numbers.integers(1, VOCABULARY, size=3 + row % 5).tolist() for row in range(num)]


def each_alone(
    model: LlamaForCausalLM,
    prompts: Sequence[Sequence[int]],
    titles: Sequence[Sequence[int]],
    temperature: float = 1.0,
) -> np.ndarray:
    """Sum the log-probabilities of each title after each prompt, one at a time."""
    found = np.empty((len(prompts), len(titles)))
    with torch.inference_mode():
        for row, prompt in enumerate(prompts):
            for column, title in enumerate(titles):
                logits = model(torch.tensor([[*prompt, *title]])).logits[0] / temperature
                logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
                found[row, column] = logp[torch.arange(len(title)), torch.tensor(title)].sum()
    return found
