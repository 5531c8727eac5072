"""From prompts to texts: batches of like length, one answer or several each, no files.

A text ends with an end-of-sequence token, with its second double quote, or when it has as many
tokens as allowed; what the last token holds behind the closing quote is cut off. A model's own
generation settings (temperature, penalties, top-p) are not applied: nothing acts but `Decoding`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.hashing import derive_seed
from bench.models.lm.decode.beam_search import search
from bench.models.lm.decode.generation_state import (
    QUOTE,
    Endings,
    Running,
    Tokens,
    endings,
    shares_prompts,
    stop_tokens,
)
from bench.models.lm.decode.sampling import write_singly
from bench.models.lm.tokenization import Tokenizer

TOKENS_AT_ONCE = {"cuda": 2**17, "cpu": 2**14}
"""Places in the cache of one batch, at the texts' longest possible lengths."""

PLACES_A_TEXT = 128
"""A text counts as so many places at least, for its logits take memory, too."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are written.

    Attributes:
        max_new_tokens: Most tokens of a text, from 1.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn.
        beams: Width of the beam search; 1 for none.
        num: Texts a prompt: at most `beams`, or any number where they are drawn.
        seed: Decides what is drawn.

    Raises:
        BenchError: A setting is out of its range, or two of them exclude each other.
    """

    max_new_tokens: int
    temperature: float = 0.0
    beams: int = 1
    num: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "beams", "num"):
            if getattr(self, name) < 1:
                raise BenchError(
                    f"Nothing can be written with {name} = {getattr(self, name)}.",
                    "Give 1 or more.",
                )
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise BenchError(
                f"Nothing can be drawn at a temperature of {self.temperature}.",
                "Give 0 for the likeliest token, or more to draw.",
            )
        if self.temperature and self.beams > 1:
            raise BenchError(
                "A beam search draws nothing, so it takes no temperature.",
                "Set the temperature to 0 or beams to 1.",
            )
        if not self.temperature and self.num > self.beams:
            raise BenchError(
                f"A search with {self.beams} beams cannot return {self.num} texts.",
                f"Set beams to {self.num} or more, or draw with a temperature above 0.",
            )

    @property
    def width(self) -> int:
        """Texts that are written at once for one prompt."""
        return self.num if self.temperature else self.beams


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written for one prompt.

    Attributes:
        texts: One or more, those with the highest score first; equal ones may occur.
        scores: Sums of the tokens' log-probabilities, the ending token included.
        num_tokens: Tokens of each text, the ending token included.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    num_tokens: tuple[int, ...]


@torch.no_grad()
def write(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    how: Decoding,
    *,
    tokens_at_once: int | None = None,
) -> list[Written]:
    """Write texts for all prompts.

    Rounding apart, what is written for a prompt depends neither on the others nor on the batches;
    what is drawn depends on its place among them.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its own, a fast one.
        prompts: Token ids, N lists, none empty.
        how: How to write.
        tokens_at_once: Size of a batch; by the device where None. Decides memory and speed alone.

    Raises:
        BenchError: The model's probabilities are no numbers.
    """
    if not prompts:
        return []
    ends = endings(model, tokenizer)
    budget = tokens_at_once or TOKENS_AT_ONCE[next(model.parameters()).device.type]
    found: list[list[Tokens]] = [[] for _ in prompts]
    lengths = [len(prompt) for prompt in prompts]
    for rows in batches(lengths, how, budget, shared=shares_prompts(model)):
        running = Running(model, [prompts[row] for row in rows])
        for row, tokens in zip(rows, _one_batch(running, ends, how, rows), strict=True):
            found[row] = tokens
    return _texts(found, tokenizer, stop_tokens(model, tokenizer))


def batches(
    lengths: Sequence[int], how: Decoding, budget: int, *, shared: bool
) -> Iterator[list[int]]:
    """Put prompts of like length together, the longest first: memory runs out early or never.

    Args:
        lengths: Tokens of each prompt.
        how: How is written.
        budget: Places in the cache of one batch.
        shared: Whether the texts of a prompt share its places.

    Example:
        >>> how = Decoding(max_new_tokens=100, temperature=1.0, num=2)
        >>> list(batches([200, 300, 200], how, budget=800, shared=True))
        [[1], [0, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        longest, new = lengths[order[start]], how.width * how.max_new_tokens
        places = longest + new if shared else longest * how.width + new
        size = max(1, budget // max(places, PLACES_A_TEXT * how.width))
        yield order[start : start + size]
        start += size


def up_to_closing_quote(text: str) -> str:
    """Cut off what follows the second double quote.

    Example:
        >>> up_to_closing_quote('try "Emma", or'), up_to_closing_quote('"Emma')
        ('try "Emma"', '"Emma')
    """
    before, *inside = text.split(QUOTE, 2)
    return f"{before}{QUOTE}{inside[0]}{QUOTE}" if len(inside) == 2 else text


def _one_batch(
    running: Running, ends: Endings, how: Decoding, rows: list[int]
) -> list[list[Tokens]]:
    if how.beams > 1:
        return search(
            running, ends, max_new_tokens=how.max_new_tokens, beams=how.beams, num=how.num
        )
    if not how.temperature:
        singles = write_singly(running, ends, max_new_tokens=how.max_new_tokens)
        return [[tokens] for tokens in singles]
    device = running.logits.device
    running.take(torch.arange(len(rows), device=device).repeat_interleave(how.num))
    flat = write_singly(
        running,
        ends,
        max_new_tokens=how.max_new_tokens,
        temperature=how.temperature,
        uniforms_BT=_uniforms(rows, how).to(device),
    )
    groups = [flat[start : start + how.num] for start in range(0, len(flat), how.num)]
    return [sorted(group, key=lambda tokens: -tokens.score) for group in groups]


def _uniforms(rows: list[int], how: Decoding) -> Tensor:
    """Give each text of each prompt its own stream, shape (rows * num, T)."""
    seed = derive_seed("drawn tokens", how.seed)
    streams = [
        np.random.default_rng((seed, row, draw)).random(how.max_new_tokens)
        for row in rows
        for draw in range(how.num)
    ]
    return torch.from_numpy(np.stack(streams))


def _texts(found: list[list[Tokens]], tokenizer: Tokenizer, stops: set[int]) -> list[Written]:
    flat = [tokens for row in found for tokens in row]
    if not all(math.isfinite(tokens.score) for tokens in flat):
        raise BenchError(
            "The model's probabilities are no finite numbers.",
            "Its training diverged: lower the learning rate.",
        )
    decoded = tokenizer.batch_decode(
        [[token for token in tokens.ids if token not in stops] for tokens in flat],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    texts = iter(map(up_to_closing_quote, decoded))
    return [
        Written(
            texts=tuple(next(texts) for _ in row),
            scores=tuple(tokens.score for tokens in row),
            num_tokens=tuple(len(tokens.ids) for tokens in row),
        )
        for row in found
    ]
