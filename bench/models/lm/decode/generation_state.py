"""Texts in the middle of being written: a batch of prompts, its cached keys and values, its ends.

Prompts are padded on the left, so that all rows write their next token in the same column; pads are
masked and positions are counted from a row's own first token, so a row is computed as it would be
alone. Shapes: B batch, L length, V vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from bench.models.lm.decode.tree_cache import Tree, attending
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.shared_prefix import takes_branches

QUOTE = '"'


class Tokens(NamedTuple):
    """What was written for one prompt, with the token that ended it, and its log-probability."""

    ids: list[int]
    score: float


@dataclass(frozen=True, kw_only=True)
class Endings:
    """When a text is complete: after an end-of-sequence token, or with its second double quote.

    Attributes:
        stops: Whether a token is an end of sequence, shape (V,).
        quotes: How many double quotes a token's text has, shape (V,).
    """

    stops: Tensor
    quotes: Tensor

    def after(self, quotes: Tensor) -> Tensor:
        """Say which tokens would end texts that have so many quotes already, shape (..., V)."""
        first_2V = torch.stack([self.quotes >= 2, self.quotes >= 1]) | self.stops
        return first_2V[quotes.clamp(max=1)]


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Put prompts, none of them empty, into one array that ends where each of them ends.

    Returns:
        Token ids, shape (B, L), and 1 where there is a token, 0 where there is padding.
    """
    longest = max(map(len, prompts))
    ids_BL = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    for row, prompt in enumerate(prompts):
        assert len(prompt), "an empty prompt has no next token"
        ids_BL[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BL[row, longest - len(prompt) :] = 1
    return ids_BL.to(device), mask_BL.to(device)


def positions(mask_BL: Tensor) -> Tensor:
    """Number the tokens of each row from 0; padding before them has 0, too."""
    return (mask_BL.cumsum(dim=-1) - 1).clamp(min=0)


class Running:
    """A batch of sequences and the logits of their next tokens.

    Sequences that go on from one prompt share its keys and values, where the model's attention
    allows that; otherwise each has a copy.

    Attributes:
        logits: In float32, or float64 where the model is, shape (B, V).
    """

    logits: Tensor

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> None:
        """Read the prompts, none of them empty, in one pass."""
        self._model = model
        config: Any = model.config
        prompts_cache = DynamicCache(config=config)
        self._cache: Cache = prompts_cache
        ids_BL, self._mask_BL = left_padded(prompts, next(model.parameters()).device)
        positions_BL = positions(self._mask_BL)
        self._next_B1 = positions_BL[:, -1:] + 1
        self._forward(ids_BL, positions_BL, self._mask_BL)
        self._tree: Tree | None = None
        if shares_prompts(model):
            sharing = config.num_attention_heads // config.num_key_value_heads
            self._tree = Tree(prompts_cache, self._mask_BL, sharing=sharing)
            self._cache = self._tree.cache

    def __len__(self) -> int:
        return len(self.logits)

    def add(self, tokens_B: Tensor) -> None:
        """Append one token to each row and compute what may follow it."""
        ids_B1, tree = tokens_B[:, None], self._tree
        if tree is not None:
            tree.grow()
            config: Any = self._model.config
            with attending(config):
                self._forward(ids_B1, self._next_B1, tree.mask, tree=tree)
        else:
            self._mask_BL = torch.cat([self._mask_BL, torch.ones_like(ids_B1)], dim=1)
            self._forward(ids_B1, self._next_B1, self._mask_BL)
        self._next_B1 = self._next_B1 + 1

    def take(self, rows: Tensor) -> None:
        """Go on with these rows: some left out, some several times, in any order."""
        if self._tree is not None:
            self._tree.take(rows)
        else:
            self._cache.batch_select_indices(rows)
            self._mask_BL = self._mask_BL[rows]
        self._next_B1, self.logits = self._next_B1[rows], self.logits[rows]

    def _forward(self, ids_BL: Tensor, positions_BL: Tensor, mask: Tensor, **more: Any) -> None:
        logits_B1V = self._model(
            input_ids=ids_BL,
            attention_mask=mask,
            position_ids=positions_BL,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **more,
        ).logits
        logits_BV = logits_B1V[:, -1]
        self.logits = logits_BV if logits_BV.dtype == torch.float64 else logits_BV.float()


def shares_prompts(model: nn.Module) -> bool:
    """Tell whether sequences that go on from one prompt share its keys and values."""
    # A window would have to be told what lies how far back.
    return takes_branches(model.config, longest=sys.maxsize)


def endings(model: nn.Module, tokenizer: Tokenizer) -> Endings:
    """Find out which tokens of the vocabulary end a text."""
    device = next(model.parameters()).device
    config: Any = model.config
    size = max(config.vocab_size, len(tokenizer))
    quotes_V = torch.zeros(size, dtype=torch.int64)
    quotes_V[: len(tokenizer)] = torch.tensor(_quotes(tokenizer))
    stops_V = torch.zeros(size, dtype=torch.bool)
    stops_V[sorted(stop_tokens(model, tokenizer))] = True
    # A model may have rows for tokens that the tokenizer lacks, or lack some of its last ones.
    size = config.vocab_size
    return Endings(stops=stops_V[:size].to(device), quotes=quotes_V[:size].to(device))


@lru_cache(maxsize=2)
def _quotes(tokenizer: Tokenizer) -> list[int]:
    """Count the double quotes of each token's text; a second's work for a large vocabulary."""
    texts = tokenizer.batch_decode(
        [[token] for token in range(len(tokenizer))],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return [text.count(QUOTE) for text in texts]


def stop_tokens(model: nn.Module, tokenizer: Tokenizer) -> set[int]:
    """Return the tokenizer's end-of-sequence token, and those that the model's makers name."""
    settings: Any = getattr(model, "generation_config", None)
    named = None if settings is None else settings.eos_token_id
    if named is None:
        named = []
    return {tokenizer.eos_token_id, *([named] if isinstance(named, int) else named)}
