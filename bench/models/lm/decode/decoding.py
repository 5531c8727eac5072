"""Generate texts: batches of prompts of similar length, one text or several per prompt, no files.

A text ends with an end-of-sequence token, at `max_new_tokens`, or, if it is a title, with its
second double quote; what the last token holds behind the closing quote is cut off. A model's own
generation settings (temperature, penalties, top-p) are not applied: only `GenerationConfig` is.

Shapes: B texts of a batch, T new tokens, V vocabulary, K most probable tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from bench.plan.language_stages import GenerationConfig

TOKENS_AT_ONCE = {"cuda": 2**17, "cpu": 2**14}
"""Cache slots of one batch, at the texts' maximum lengths."""

SLOTS_PER_TEXT = 128
"""A text counts as this many slots at least, for its logits take memory as well."""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The texts of one prompt.

    Attributes:
        texts: One or more; titles with the highest score first, answers in the order sampled.
        scores: Sums of the tokens' log-probabilities, the ending token included.
        num_tokens: Tokens of each text, the ending token included.
        finished: Whether each ended with an end-of-sequence token.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    num_tokens: tuple[int, ...]
    finished: tuple[bool, ...]


class Nucleus(nn.Module):
    """A language model whose improbable next tokens are impossible, by `top_k` and `top_p`."""

    def __init__(self, model: nn.Module, config: GenerationConfig) -> None:
        super().__init__()
        self.model = model
        self.config = model.config
        self.generation = config

    def forward(self, **inputs: Any) -> Any:
        """Run the model and mask its logits."""
        output = self.model(**inputs)
        output.logits = nucleus(output.logits, self.generation)
        return output


def nucleus(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Set the logits of tokens beyond `top_k` and `top_p` to minus infinity, shape (..., V).

    Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020. The probabilities
    that `top_p` adds up are those at the temperature, among the `top_k` tokens.
    """
    size = logits.shape[-1]
    top_logits, tokens = logits.topk(min(config.top_k or size, size), dim=-1)
    probabilities_K = (top_logits.float() / config.temperature).softmax(dim=-1)
    before_K = probabilities_K.cumsum(dim=-1) - probabilities_K
    masked_K = top_logits.masked_fill(before_K >= config.top_p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, tokens, masked_K)


def title_streams(num_prompts: int, config: GenerationConfig) -> list[tuple[int, int]]:
    """Return the random streams of title prompts, which depend on the prompt's index."""
    seed = derive_seed("drawn tokens", config.seed)
    return [(seed, row) for row in range(num_prompts)]


def answer_streams(hashes: Sequence[str], config: GenerationConfig) -> list[tuple[int, int]]:
    """Return the random streams of questions, which depend on the question's hash alone."""
    seed = derive_seed("answers", config.seed)
    return [(seed, int(each[:16], 16)) for each in hashes]


@torch.no_grad()
def generate_texts(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    streams: Sequence[tuple[int, int]],
    titles: bool,
    tokens_at_once: int | None = None,
) -> list[Generated]:
    """Generate texts for all prompts.

    The texts of a prompt depend, up to rounding, neither on other prompts nor on batches, and what
    is sampled depends on its stream and the number of the text alone: 5 samples are the first 5 of
    10.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its own, a fast one.
        prompts: Token ids, N lists, none empty.
        config: How to decode.
        streams: Two numbers per prompt that seed what is sampled for it.
        titles: Whether texts are titles, which end with their second double quote and come best
            first; otherwise they are answers in free text, stripped, in the order sampled.
        tokens_at_once: Size of a batch; None for the device's default. Decides memory and speed
            only.

    Raises:
        BenchError: The model's probabilities are not finite.
    """
    if not prompts:
        return []
    ends = endings(model, tokenizer)
    if not titles:
        ends = replace(ends, quotes=torch.zeros_like(ends.quotes))
    masks = config.temperature > 0 and (config.top_k > 0 or config.top_p < 1)
    masked_model = Nucleus(model, config) if masks else model
    budget = tokens_at_once or TOKENS_AT_ONCE[next(model.parameters()).device.type]
    tokens: list[list[Tokens]] = [[] for _ in prompts]
    lengths = [len(prompt) for prompt in prompts]
    for rows in batches(lengths, config, budget, shared=shares_prompts(model)):
        running = Running(masked_model, [prompts[row] for row in rows])
        batch = _generate_batch(running, ends, config, [streams[row] for row in rows])
        for row, of_prompt in zip(rows, batch, strict=True):
            if titles:
                of_prompt = sorted(of_prompt, key=lambda text: -text.score)
            tokens[row] = of_prompt
    return _decode_tokens(tokens, tokenizer, stop_tokens(model, tokenizer), titles=titles)


def batches(
    lengths: Sequence[int], config: GenerationConfig, budget: int, *, shared: bool
) -> Iterator[list[int]]:
    """Group prompts of similar length, the longest first: memory runs out early or never.

    Args:
        lengths: Tokens of each prompt.
        config: How to decode.
        budget: Cache slots of one batch.
        shared: Whether the texts of a prompt share its slots.

    Example:
        >>> config = GenerationConfig(max_new_tokens=100, temperature=1.0, num_return_sequences=2)
        >>> list(batches([200, 300, 200], config, budget=800, shared=True))
        [[1], [0, 2]]
    """
    width = config.num_return_sequences if config.temperature else config.num_beams
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        longest, new = lengths[order[start]], width * config.max_new_tokens
        slots = longest + new if shared else longest * width + new
        size = max(1, budget // max(slots, SLOTS_PER_TEXT * width))
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


def _generate_batch(
    running: Running,
    ends: Endings,
    config: GenerationConfig,
    streams: Sequence[tuple[int, int]],
) -> list[list[Tokens]]:
    if config.num_beams > 1:
        return search(
            running,
            ends,
            max_new_tokens=config.max_new_tokens,
            beams=config.num_beams,
            num=config.num_return_sequences,
        )
    if not config.temperature:
        singles = write_singly(running, ends, max_new_tokens=config.max_new_tokens)
        return [[tokens] for tokens in singles]
    device, num = running.logits.device, config.num_return_sequences
    running.take(torch.arange(len(streams), device=device).repeat_interleave(num))
    uniforms_BT = np.stack(
        [
            np.random.default_rng((*stream, sample)).random(config.max_new_tokens)
            for stream in streams
            for sample in range(num)
        ]
    )
    flat = write_singly(
        running,
        ends,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        uniforms_BT=torch.from_numpy(uniforms_BT).to(device),
    )
    return [flat[start : start + num] for start in range(0, len(flat), num)]


def _decode_tokens(
    tokens: list[list[Tokens]], tokenizer: Tokenizer, stops: set[int], *, titles: bool
) -> list[Generated]:
    flat = [text for of_prompt in tokens for text in of_prompt]
    if not all(math.isfinite(text.score) for text in flat):
        raise BenchError(
            "The model's probabilities are not finite.",
            "Its training diverged: lower the learning rate.",
        )
    decoded = tokenizer.batch_decode(
        [[token for token in text.ids if token not in stops] for text in flat],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    texts = iter(map(up_to_closing_quote if titles else str.strip, decoded))
    return [
        Generated(
            texts=tuple(next(texts) for _ in of_prompt),
            scores=tuple(text.score for text in of_prompt),
            num_tokens=tuple(len(text.ids) for text in of_prompt),
            finished=tuple(bool(text.ids) and text.ids[-1] in stops for text in of_prompt),
        )
        for of_prompt in tokens
    ]
