"""Text generation: prompts in batches of similar length, one text or several per prompt.

A title ends with an end-of-sequence token, with its second double quote, or after the maximum
number of tokens; what the last token holds after the closing quote is cut off. Free text does not
end with quotes. A model's own generation settings (temperature, penalties, top-p) are not applied.

Shapes: N prompts, T response tokens.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from bench.errors import BenchError
from bench.files import write_atomic
from bench.hashing import derive_seed
from bench.models.lm.decode.beam_search import beam_search
from bench.models.lm.decode.continuous import split_into_shards, start_backend
from bench.models.lm.decode.generation_state import (
    QUOTE,
    TOKENS_PER_TEXT,
    Endings,
    GenerationState,
    Tokens,
    count_cache_tokens,
    find_endings,
    shares_prompts,
    stop_tokens,
)
from bench.models.lm.decode.sampling import sample_texts
from bench.models.lm.tokenization import Tokenizer
from bench.models.progress import report_progress
from bench.plan.language_stages import GenerationConfig

Batches: TypeAlias = dict[int, list[Tokens]]
"""Texts by index of their prompt."""

INTERVAL_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The texts of one prompt.

    Attributes:
        texts: One or more; titles and results of a beam search with the highest score first, free
            text in the order in which it was sampled. Equal texts may occur.
        scores: Sums of the tokens' log-probabilities, the ending token included.
        num_tokens: Tokens of each text, the ending token included.
        finished: Whether an end-of-sequence token ended the text.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    num_tokens: tuple[int, ...]
    finished: tuple[bool, ...]


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
    divisor: int = 1,
    checkpoints: Path | None = None,
) -> list[Generated]:
    """Generate texts for all prompts.

    Up to rounding, a prompt's texts depend neither on other prompts nor on batches. What is sampled
    depends on its stream and the number of the text alone: 5 samples are the first 5 of 10. For
    other backends, see `bench.models.lm.decode.continuous`.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its own, a fast one.
        prompts: Token ids, N lists, none empty.
        config: How to generate.
        streams: Two numbers per prompt that seed what is sampled for it.
        titles: Whether texts are titles; otherwise they are answers in free text.
        divisor: Batches are smaller by it, to save memory.
        checkpoints: Folder of the batches that a killed process has generated; None for none.

    Raises:
        BenchError: The model's probabilities are not finite.
    """
    if not prompts:
        return []
    generated: list[list[Tokens]] = [[] for _ in prompts]
    finished, saved = _read_batches(checkpoints), time.monotonic()
    unsaved: Batches = {}
    num_tokens = 0
    cache_size = count_cache_tokens(model) // divisor
    if config.backend == "transformers":
        endings, lengths = find_endings(model, tokenizer), [*map(len, prompts)]
        if not titles:
            endings = replace(endings, quotes=torch.zeros_like(endings.quotes))
        batches = split_into_batches(lengths, config, cache_size, shared=shares_prompts(model))
    else:
        batches = split_into_shards(len(prompts))
        answer = start_backend(model, tokenizer, config, cache_size=cache_size)
    for rows in batches:
        if not finished.keys() >= set(rows):
            batch_prompts = [prompts[row] for row in rows]
            if config.backend == "transformers":
                state = GenerationState(model, batch_prompts)
                batch = _generate_batch(state, endings, config, [streams[row] for row in rows])
            else:
                batch = answer(batch_prompts)
            new = dict(zip(rows, batch, strict=True))
            finished.update(new)
            unsaved.update(new)
            num_tokens += sum(len(text.ids) for texts in batch for text in texts)
            report_progress(len(finished), len(prompts), "prompts", tokens=num_tokens)
        if checkpoints and unsaved and time.monotonic() > saved + INTERVAL_SECONDS:
            path = checkpoints / f"batches-{len(finished)}.json"
            write_atomic(path, json.dumps(unsaved).encode())
            unsaved, saved = {}, time.monotonic()
        for row in rows:
            texts = finished[row]
            generated[row] = sorted(texts, key=lambda text: -text.score) if titles else texts
    return _decode(generated, tokenizer, stop_tokens(model, tokenizer), titles=titles)


def _read_batches(folder: Path | None) -> Batches:
    """Read what a killed process has generated."""
    paths = () if folder is None else sorted(folder.glob("batches-*.json"))
    return {
        int(row): [Tokens(*text) for text in texts]
        for path in paths
        for row, texts in json.loads(path.read_bytes()).items()
    }


def split_into_batches(
    lengths: Sequence[int], config: GenerationConfig, cache_size: int, *, shared: bool
) -> Iterator[list[int]]:
    """Put prompts of similar length together, the longest first: memory runs out early or never.

    The texts of a prompt share its keys and values if `shared`; a cache has up to `cache_size`
    tokens.

    Example:
        >>> config = GenerationConfig(max_new_tokens=100, temperature=1.0, num_return_sequences=2)
        >>> list(split_into_batches([200, 300, 200], config, cache_size=800, shared=True))
        [[1], [0, 2]]
    """
    width = config.num_return_sequences if config.temperature else config.num_beams
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        longest, new_tokens = lengths[order[start]], width * config.max_new_tokens
        tokens = longest + new_tokens if shared else longest * width + new_tokens
        batch_size = max(1, cache_size // max(tokens, TOKENS_PER_TEXT * width))
        yield order[start : start + batch_size]
        start += batch_size


def cut_after_quotes(text: str) -> str:
    """Cut off what follows the second double quote.

    Example:
        >>> cut_after_quotes('try "Emma", or'), cut_after_quotes('"Emma')
        ('try "Emma"', '"Emma')
    """
    before, *parts = text.split(QUOTE, 2)
    return f"{before}{QUOTE}{parts[0]}{QUOTE}" if len(parts) == 2 else text


def _generate_batch(
    state: GenerationState,
    endings: Endings,
    config: GenerationConfig,
    streams: Sequence[tuple[int, int]],
) -> list[list[Tokens]]:
    if config.num_beams > 1:
        return beam_search(state, endings, config)
    if not config.temperature:
        return [[text] for text in sample_texts(state, endings, config)]
    num, device = config.num_return_sequences, state.logits.device
    state.take(torch.arange(len(streams)).repeat_interleave(num))
    uniforms_BT = np.stack(
        [
            np.random.default_rng((*stream, sample)).random(config.max_new_tokens)
            for stream in streams
            for sample in range(num)
        ]
    )
    texts = sample_texts(state, endings, config, torch.from_numpy(uniforms_BT).to(device))
    return [texts[start : start + num] for start in range(0, len(texts), num)]


def _decode(
    generated: list[list[Tokens]], tokenizer: Tokenizer, stops: set[int], *, titles: bool
) -> list[Generated]:
    flat = [tokens for row in generated for tokens in row]
    if not all(math.isfinite(tokens.score) for tokens in flat):
        raise BenchError(
            "The model's probabilities are not finite.",
            "Its training diverged: lower the learning rate.",
        )
    all_texts = tokenizer.batch_decode(
        [[token for token in tokens.ids if token not in stops] for tokens in flat],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    texts = iter(cut_after_quotes(text) if titles else text.strip() for text in all_texts)
    return [
        Generated(
            texts=tuple(next(texts) for _ in row),
            scores=tuple(tokens.score for tokens in row),
            num_tokens=tuple(len(tokens.ids) for tokens in row),
            finished=tuple(tokens.ids[-1] in stops for tokens in row),
        )
        for row in generated
    ]
