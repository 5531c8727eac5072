"""Text generation: prompts in batches of similar length, one text or several per prompt.

A title ends with an end-of-sequence token, with its second double quote, or after the maximum
number of tokens; what the last token holds after the closing quote is cut off. Free text does not
end with quotes. A model's own generation settings (temperature, penalties, top-p) are not applied.

A sampled token is the first whose cumulative probability exceeds a uniform number. Each text has
its own stream of such numbers, so what is sampled for it does not depend on its batch.

Shapes: N prompts, B texts of a batch, A unfinished ones, T response tokens, K most probable tokens,
V vocabulary.
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
from torch import Tensor, nn

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
    LaggedMask,
    Tokens,
    count_cache_tokens,
    find_endings,
    shares_prompts,
    stop_tokens,
)
from bench.models.lm.devices import to_device
from bench.models.lm.tokenization import Tokenizer
from bench.models.progress import report_progress
from bench.plan.language_stages import GenerationConfig

SHRINK_AT = 0.75
"""The batch shrinks once this fraction of its rows, or less, is unfinished."""

Batches: TypeAlias = dict[int, list[Tokens]]
"""Texts by index of their prompt."""
INTERVAL_SECONDS = 300.0


def sample_texts(
    state: GenerationState,
    endings: Endings,
    config: GenerationConfig,
    uniforms_BT: Tensor | None = None,
) -> list[Tokens]:
    """Generate one text per row; the state is used up.

    Numbers in [0, 1) decide the samples, shape (B, T), if there is a temperature.
    `config.num_beams` and `config.num_return_sequences` are ignored.

    Returns:
        The texts, with the sums of the model's own log-probabilities, whatever the temperature.
    """
    assert (config.temperature > 0) == (uniforms_BT is not None), "sampling needs numbers"
    size, device = len(state), state.logits.device
    tokens_BT = torch.zeros(size, config.max_new_tokens, dtype=torch.int64, device=device)
    scores_B = torch.zeros(size, dtype=torch.float64, device=device)
    lengths_B, quotes_B = torch.zeros_like(tokens_BT[:, 0]), torch.zeros_like(tokens_BT[:, 0])
    finished_B = torch.zeros(size, dtype=torch.bool, device=device)
    rows, rows_A = np.arange(size), torch.arange(size, device=device)
    mask = LaggedMask(device)
    for step in range(config.max_new_tokens):
        logps_AV = state.logits.log_softmax(-1)
        if uniforms_BT is None:
            tokens_A = logps_AV.argmax(-1)
        else:
            truncated_AV = truncate(state.logits, config).log_softmax(-1)
            tokens_A = _sample(truncated_AV, config.temperature, uniforms_BT[rows_A, step])
        counted_A = ~finished_B[rows_A]
        logps_A = logps_AV.gather(1, tokens_A[:, None])[:, 0].double()
        scores_B[rows_A] += torch.where(counted_A, logps_A, 0.0)
        tokens_BT[rows_A, step] = tokens_A
        lengths_B[rows_A] += counted_A
        quotes_B[rows_A] += endings.quotes[tokens_A] * counted_A
        finished_B[rows_A] |= endings.stops[tokens_A] | (quotes_B[rows_A] >= 2)
        positions = np.flatnonzero(mask.push(~finished_B)[rows])
        if not len(positions) or step == config.max_new_tokens - 1:
            break
        if len(positions) <= SHRINK_AT * len(rows):
            state.take(torch.from_numpy(positions))
            rows, positions_A = rows[positions], to_device(positions, device)
            rows_A, tokens_A = rows_A[positions_A], tokens_A[positions_A]
        state.append(tokens_A)
    lengths, scores = lengths_B.tolist(), scores_B.tolist()
    return [
        Tokens(ids[:length], score)
        for ids, length, score in zip(tokens_BT.tolist(), lengths, scores, strict=True)
    ]


def truncate(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Set the logits of tokens beyond `top_k` and `top_p` to minus infinity, shape (..., V).

    Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020. The probabilities
    that `top_p` adds up are those at the temperature, among the `top_k` tokens.
    """
    if not config.top_k and config.top_p == 1:
        return logits
    size = logits.shape[-1]
    top_K, tokens_K = logits.topk(min(config.top_k or size, size), dim=-1)
    probabilities_K = (top_K.float() / config.temperature).softmax(dim=-1)
    before_K = probabilities_K.cumsum(dim=-1) - probabilities_K
    top_K = top_K.masked_fill(before_K >= config.top_p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, tokens_K, top_K)


def _sample(logps_AV: Tensor, temperature: float, uniforms_A: Tensor) -> Tensor:
    """Sample a token per row; in float64, for a sum over a large vocabulary loses digits."""
    cumulative_AV = (logps_AV.double() / temperature).softmax(-1).cumsum(-1)
    thresholds_A1 = uniforms_A[:, None] * cumulative_AV[:, -1:]
    tokens_A1 = torch.searchsorted(cumulative_AV, thresholds_A1, right=True)
    return tokens_A1[:, 0].clamp(max=logps_AV.shape[1] - 1)


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
    """Generate texts for all prompts: token ids, N lists, none empty.

    Up to rounding, a prompt's texts depend neither on other prompts nor on batches. What is sampled
    depends on its stream, two numbers per prompt, and the number of the text alone: 5 samples are
    the first 5 of 10. For other backends, see `bench.models.lm.decode.continuous`.

    Texts are titles, or answers in free text. Batches are smaller by `divisor`, to save memory.
    `checkpoints` is the folder of the batches that a killed process has generated.

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
