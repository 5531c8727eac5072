"""Texts written token by token: the likeliest token each time, or one drawn at a temperature.

A drawn token is the first whose cumulated probability exceeds a uniform number. Each text has a
stream of such numbers of its own, so what is drawn for it does not depend on its batch.
Shapes: B texts of a batch, A those of them that are still read, T response tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.models.lm.decode.generation_state import Endings, Running, Tokens

STILL_WRITTEN = 0.75
"""The batch is made smaller once no more than this share of its rows is still being written."""


def write_singly(
    running: Running,
    endings: Endings,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    uniforms_BT: Tensor | None = None,
) -> list[Tokens]:
    """Write one text a row.

    Args:
        running: The batch; it is used up.
        endings: When a text is complete.
        max_new_tokens: Most tokens of a text, T.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn.
        uniforms_BT: Numbers in [0, 1) that decide the draws, shape (B, T); for a temperature.

    Returns:
        The texts, with the sums of the model's own log-probabilities, whatever the temperature.
    """
    assert (temperature > 0) == (uniforms_BT is not None), "draws need numbers"
    size, device = len(running), running.logits.device
    tokens_BT = torch.zeros(size, max_new_tokens, dtype=torch.int64, device=device)
    scores_B = torch.zeros(size, dtype=torch.float64, device=device)
    lengths_B, quotes_B = torch.zeros_like(tokens_BT[:, 0]), torch.zeros_like(tokens_BT[:, 0])
    done_B = torch.zeros(size, dtype=torch.bool, device=device)
    rows_A = torch.arange(size, device=device)
    for step in range(max_new_tokens):
        log_AV = running.logits.log_softmax(-1)
        if uniforms_BT is None:
            token_A = log_AV.argmax(-1)
        else:
            token_A = _drawn(log_AV, temperature, uniforms_BT[rows_A, step])
        written_A = (~done_B[rows_A]).long()
        score_A = log_AV.gather(1, token_A[:, None])[:, 0].double()
        scores_B[rows_A] += torch.where(done_B[rows_A], 0.0, score_A)
        tokens_BT[rows_A, step] = token_A
        lengths_B[rows_A] += written_A
        quotes_B[rows_A] += endings.quotes[token_A] * written_A
        done_B[rows_A] |= endings.stops[token_A] | (quotes_B[rows_A] >= 2)
        still_A = ~done_B[rows_A]
        num_still = int(still_A.sum())
        if num_still == 0 or step == max_new_tokens - 1:
            break
        if num_still <= STILL_WRITTEN * len(rows_A):
            kept = still_A.nonzero()[:, 0]
            running.take(kept)
            rows_A, token_A = rows_A[kept], token_A[kept]
        running.add(token_A)
    lengths, scores = lengths_B.tolist(), scores_B.tolist()
    return [
        Tokens(ids[:length], score)
        for ids, length, score in zip(tokens_BT.tolist(), lengths, scores, strict=True)
    ]


def _drawn(log_AV: Tensor, temperature: float, uniforms_A: Tensor) -> Tensor:
    """Draw a token a row; in float64, for a sum over a large vocabulary loses digits."""
    upto_AV = (log_AV.double() / temperature).softmax(-1).cumsum(-1)
    wanted_A1 = uniforms_A[:, None] * upto_AV[:, -1:]
    return torch.searchsorted(upto_AV, wanted_A1, right=True)[:, 0].clamp(max=log_AV.shape[1] - 1)
