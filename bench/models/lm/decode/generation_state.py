"""Generation state: a batch of sequences, their cached keys and values, and their next logits.

Prompts are padded on the left, so that all rows append their next token in the same column; padding
is masked and positions are counted from a row's own first token, so a row is computed as it would
be alone.

Shapes: B batch, L length, V vocabulary.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache

from bench.models.lm.decode.tree_cache import NAME, Tree
from bench.models.lm.devices import count_free_bytes, round_down, to_device
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.shared_prefix import takes_branches, use_attention

QUOTE = '"'
CPU_CACHE_TOKENS = 2**14
TOKENS_PER_TEXT = 128
"""A text counts as at least this many tokens, for its logits take memory, too."""

LAG = {"cuda": 2, "cpu": 0}
"""Steps between a mask and its reading, by type of device."""


class Tokens(NamedTuple):
    """Token ids of a generated text, its ending token included, and their log-probability."""

    ids: list[int]
    score: float


@dataclass(frozen=True, kw_only=True)
class Endings:
    """When a text is complete: after an end-of-sequence token, or with its second double quote.

    Attributes:
        stops: Whether a token is an end of sequence, shape (V,).
        quotes: Number of double quotes in a token's text, shape (V,); 0 where quotes end no text.
    """

    stops: Tensor
    quotes: Tensor

    def next_tokens(self, quotes: Tensor) -> Tensor:
        """Return which tokens would end texts with this number of quotes, shape (..., V)."""
        ends_2V = torch.stack([self.quotes >= 2, self.quotes >= 1]) | self.stops
        return ends_2V[quotes.clamp(max=1)]


def pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the token ids of prompts, none empty, and their mask, each of shape (B, L)."""
    assert all(map(len, prompts)), "an empty prompt has no next token"
    tensors = [torch.tensor(prompt) for prompt in prompts]
    ids_BL, mask_BL = (
        pad_sequence(rows, batch_first=True, padding_side="left").to(device)
        for rows in (tensors, [torch.ones_like(ids) for ids in tensors])
    )
    return ids_BL, mask_BL


def count_positions(mask_BL: Tensor) -> Tensor:
    """Return the position of each token, from 0 at a row's first one; padding also gets 0."""
    return (mask_BL.cumsum(dim=-1) - 1).clamp(min=0)


class GenerationState:
    """A batch of sequences and the logits of their next tokens.

    Sequences that continue the same prompt share its keys and values, where the model's attention
    allows that; otherwise each has a copy.

    Attributes:
        logits: In float32, or float64 where the model is, shape (B, V).
        owners: Index of the prompt that each sequence continues, shape (B,).
    """

    logits: Tensor
    owners: NDArray[np.int64]

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> None:
        """Read the prompts, none of them empty, in one pass."""
        self._model = model
        self.owners = np.arange(len(prompts))
        config: Any = model.config
        prompt_cache = DynamicCache(config=config)
        self._cache: Cache = prompt_cache
        ids_BL, self._mask_BL = pad_left(prompts, next(model.parameters()).device)
        positions_BL = count_positions(self._mask_BL)
        self._next_B1 = positions_BL[:, -1:] + 1
        self._forward(ids_BL, positions_BL, self._mask_BL)
        self._tree: Tree | None = None
        if shares_prompts(model):
            group_size = config.num_attention_heads // config.num_key_value_heads
            self._tree = Tree(prompt_cache, self._mask_BL, self.owners, group_size=group_size)
            self._cache = self._tree.cache

    def __len__(self) -> int:
        return len(self.logits)

    def extend(self, rows: Tensor, tokens: Tensor, owners: NDArray[np.int64]) -> None:
        """Append a token to these rows, see `take`."""
        self.take(rows, owners)
        self.append(tokens)

    def append(self, tokens_B: Tensor) -> None:
        """Append one token to each row and compute the logits after it."""
        ids_B1, tree = tokens_B[:, None], self._tree
        if tree is not None:
            tree.grow()
            with use_attention(self._model.config, NAME):
                self._forward(ids_B1, self._next_B1, tree.mask, tree=tree)
        else:
            self._mask_BL = torch.cat([self._mask_BL, torch.ones_like(ids_B1)], dim=1)
            self._forward(ids_B1, self._next_B1, self._mask_BL)
        self._next_B1 = self._next_B1 + 1

    def take(self, rows: Tensor, owners: NDArray[np.int64] | None = None) -> None:
        """Keep these rows: some left out, some several times, in any order.

        Their indices are on the CPU; on any device with `owners`, the prompts of the new rows.
        """
        self.owners = self.owners[rows.numpy()] if owners is None else owners
        rows = to_device(rows, self.logits.device)
        if self._tree is not None:
            self._tree.take(rows, self.owners)
        else:
            self._cache.batch_select_indices(rows)
            self._mask_BL = self._mask_BL[rows]
        self._next_B1, self.logits = self._next_B1[rows], self.logits[rows]

    def _forward(self, ids_BL: Tensor, positions_BL: Tensor, mask: Tensor, **kwargs: Any) -> None:
        logits_B1V = self._model(
            input_ids=ids_BL,
            attention_mask=mask,
            position_ids=positions_BL,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **kwargs,
        ).logits
        logits_BV = logits_B1V[:, -1]
        self.logits = logits_BV if logits_BV.dtype == torch.float64 else logits_BV.float()


def count_cache_tokens(model: nn.Module, free_bytes: int | None = None) -> int:
    """Return how many tokens of a batch fit into memory.

    A token takes its keys and values, twice while a cache is copied, and its states in a layer; per
    128 tokens of the cache there is a text with its logits, in float32 and once more as
    probabilities. Half of the free memory stays for the rest. Without `free_bytes` it is that of
    the model's GPU; on a CPU the number of tokens is constant.
    """
    weight = next(model.parameters())
    if free_bytes is None:
        if not weight.is_cuda:
            return CPU_CACHE_TOKENS
        free_bytes = count_free_bytes()
    config: Any = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cached = 2 * config.num_hidden_layers * config.num_key_value_heads * size * weight.itemsize
    states = 2 * (config.hidden_size + config.intermediate_size) * weight.itemsize
    logits = 3 * 4 * config.vocab_size // TOKENS_PER_TEXT
    return round_down(free_bytes // 2 // (2 * cached + states + logits))


def shares_prompts(model: nn.Module) -> bool:
    """Return whether sequences that continue the same prompt share its keys and values."""
    # A sliding window would need the distances within the tree.
    return takes_branches(model.config, max_length=sys.maxsize)


def find_endings(model: nn.Module, tokenizer: Tokenizer) -> Endings:
    """Find out which tokens of the vocabulary end a text."""
    device = next(model.parameters()).device
    config: Any = model.config
    size = max(config.vocab_size, len(tokenizer))
    quotes_V = torch.zeros(size, dtype=torch.int64)
    quotes_V[: len(tokenizer)] = torch.tensor(_count_quotes(tokenizer))
    stops_V = torch.zeros(size, dtype=torch.bool)
    stops_V[sorted(stop_tokens(model, tokenizer))] = True
    # A model may have rows for tokens that the tokenizer lacks, or lack some of its last ones.
    size = config.vocab_size
    return Endings(stops=stops_V[:size].to(device), quotes=quotes_V[:size].to(device))


@lru_cache(maxsize=2)
def _count_quotes(tokenizer: Tokenizer) -> list[int]:
    """Count the double quotes in each token's text; this takes a second for a large vocabulary."""
    texts = tokenizer.batch_decode(
        [[token] for token in range(len(tokenizer))],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return [text.count(QUOTE) for text in texts]


def stop_tokens(model: nn.Module, tokenizer: Tokenizer) -> set[int]:
    """Return the end-of-sequence tokens of the tokenizer and of the model's generation config."""
    config: Any = getattr(model, "generation_config", None)
    tokens = getattr(config, "eos_token_id", None)
    if tokens is None:
        tokens = []
    return {tokenizer.eos_token_id, *([tokens] if isinstance(tokens, int) else tokens)}


class LaggedMask:
    """Masks of what is unfinished on a device, one per step, read without waiting for the device.

    Reading a mask from a GPU waits until all queued work is done, and then the GPU waits for the
    host. So the host reads each mask some steps late. Whatever is finished stays so: a late mask
    contains the current one, and what it adds is computed in vain.

    Attributes:
        lag: Steps between a mask and its reading; 0 reads the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self.lag = LAG[device.type]
        self._queue: deque[tuple[Tensor, Any]] = deque()

    def push(self, unfinished: Tensor) -> NDArray[np.bool_]:
        """Add the current mask and return that of `lag` steps ago; before, all are unfinished."""
        if unfinished.is_cuda:
            host = torch.empty(unfinished.shape, dtype=torch.bool, pin_memory=True)
            host.copy_(unfinished, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        else:
            host, event = unfinished.clone(), None
        self._queue.append((host, event))
        if len(self._queue) <= self.lag:
            return np.ones(unfinished.shape, dtype=np.bool_)
        host, event = self._queue.popleft()
        if event is not None:
            event.synchronize()
        return np.asarray(host)
