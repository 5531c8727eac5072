"""Texts generated token by token: the most probable token each time, or a sampled one.

A sampled token is the first whose cumulative probability exceeds a uniform number. Each text has
its own stream of such numbers, so what is sampled for it does not depend on its batch.

Shapes: B texts of a batch, A unfinished ones, T response tokens, K most probable tokens, V
vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.models.lm.decode.generation_state import Endings, GenerationState, Tokens
from bench.models.lm.decode.lagged_mask import LaggedMask
from bench.models.lm.devices import to_device
from bench.plan.language_stages import GenerationConfig

SHRINK_AT = 0.75
"""The batch shrinks once this fraction of its rows, or less, is unfinished."""


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
