"""Beam search over free text: the most probable responses that a search of a given width finds.

A step extends each of the K live prefixes of a row by every token and takes the K best extensions:
complete ones join the K best complete responses found so far; the K best incomplete ones stay live.
A response's score is the sum of its tokens' log-probabilities, the ending token included, without a
length penalty. Such a sum can only fall, so a row is finished, exactly, when its last wanted
complete response is as good as its best live prefix.

Shapes: R rows, K beams, W prefixes of a row (1, then up to K), V vocabulary, T response tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models.lm.decode.generation_state import Endings, GenerationState, LaggedMask, Tokens
from bench.models.lm.devices import to_device
from bench.plan.language_stages import GenerationConfig


@dataclass(frozen=True)
class Prefixes:
    """Prefixes or complete responses of R rows, W each.

    Attributes:
        scores: Sums of log-probabilities; -inf where there is none; shape (R, W).
        tokens: Token ids, of which the first `lengths` count, shape (R, W, T).
        lengths: Number of tokens, shape (R, W).
        quotes: Number of double quotes, shape (R, W).
    """

    scores: Tensor
    tokens: Tensor
    lengths: Tensor
    quotes: Tensor

    def take(self, rows: Tensor) -> Prefixes:
        """Return some rows."""
        return Prefixes(*(values[rows] for values in vars(self).values()))

    def only(self, rows_R: Tensor) -> Prefixes:
        """Return the same without those of other rows, whose scores are then -inf."""
        return replace(self, scores=self.scores.masked_fill(~rows_R[:, None], -torch.inf))

    def gather(self, indices_RK: Tensor, scores_RK: Tensor) -> Prefixes:
        """Return K of the W prefixes of each row, with other scores."""
        width = self.tokens.shape[-1]
        return Prefixes(
            scores_RK,
            self.tokens.gather(1, indices_RK[..., None].expand(-1, -1, width)),
            self.lengths.gather(1, indices_RK),
            self.quotes.gather(1, indices_RK),
        )

    def merge(self, others: Prefixes) -> Prefixes:
        """Return the best of both, as many per row as before."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        both = Prefixes(*(torch.cat(pair, dim=1) for pair in pairs))
        scores_RK, indices_RK = both.scores.topk(self.scores.shape[1], dim=1)
        return both.gather(indices_RK, scores_RK)

    def best(self, row: int, num: int) -> list[Tokens]:
        """Return a row's best `num`; fewer if there are no more."""
        texts = zip(
            self.tokens[row, :num].tolist(),
            self.lengths[row, :num].tolist(),
            self.scores[row, :num].tolist(),
            strict=True,
        )
        return [Tokens(ids[:length], score) for ids, length, score in texts if score != -torch.inf]


def beam_search(
    state: GenerationState, endings: Endings, config: GenerationConfig
) -> list[list[Tokens]]:
    """Search the most probable texts of each row; the state is used up.

    A text is complete as `endings` says, or with `config.max_new_tokens` tokens.

    Returns:
        `config.num_return_sequences` texts per row, best first; fewer only where the vocabulary has
        no more to offer.
    """
    num_steps, num_texts = config.max_new_tokens, config.num_return_sequences
    live = _empty(state, 1, num_steps, 0.0)
    complete = _empty(state, config.num_beams, num_steps, -torch.inf)
    device = state.logits.device
    open_B, mask = torch.ones(len(state), dtype=torch.bool, device=device), LaggedMask(device)
    rows, rows_R = np.arange(len(state)), torch.arange(len(state), device=device)
    finished: list[tuple[NDArray[np.int64], Prefixes]] = []
    for step in range(num_steps):
        is_last = step == num_steps - 1
        ended, extended, parents_RK = _extend(
            state, live, endings, config.num_beams, all_end=is_last
        )
        complete = complete.merge(ended.only(open_B[rows_R]))
        # What is no number is never done, so that the last step reports it.
        open_B[rows_R] &= ~(complete.scores[:, num_texts - 1] >= extended.scores.amax(1))
        is_open = mask.push(open_B)[rows] & (not is_last)
        if not is_open.all():
            finished.append((rows[~is_open], complete.take(_indices(~is_open, device))))
        if not is_open.any():
            break
        open_R, rows = _indices(is_open, device), rows[is_open]
        parents = (open_R[:, None] * live.scores.shape[1] + parents_RK[open_R]).flatten()
        live, complete, rows_R = extended.take(open_R), complete.take(open_R), rows_R[open_R]
        owners = rows.repeat(live.scores.shape[1])
        state.extend(parents, live.tokens[:, :, step].flatten(), owners)
    results: list[list[Tokens]] = [[] for _ in open_B]
    for rows, prefixes in finished:
        for index, row in enumerate(rows):
            results[row] = prefixes.best(index, num_texts)
    return results


def _indices(selected: NDArray[np.bool_], device: torch.device) -> Tensor:
    return to_device(np.flatnonzero(selected), device)


def _extend(
    state: GenerationState, live: Prefixes, endings: Endings, num_beams: int, *, all_end: bool
) -> tuple[Prefixes, Prefixes, Tensor]:
    """Extend all prefixes by every token.

    Returns:
        The complete ones among the K best; the K best incomplete ones; which prefix each of the
        latter extends, shape (R, K).
    """
    num_rows, width = live.scores.shape
    logps_RWV = state.logits.log_softmax(-1).view(num_rows, width, -1)
    size = logps_RWV.shape[-1]
    scores_RN = (live.scores[..., None] + logps_RWV).flatten(1)
    ends_RN = endings.next_tokens(live.quotes).flatten(1)
    num = min(num_beams, width * size)

    def append_tokens(indices_RK: Tensor, scores_RK: Tensor) -> Prefixes:
        tokens_RK = indices_RK % size
        prefixes = live.gather(indices_RK // size, scores_RK)
        return Prefixes(
            scores_RK,
            prefixes.tokens.scatter(2, prefixes.lengths[..., None], tokens_RK[..., None]),
            prefixes.lengths + 1,
            prefixes.quotes + endings.quotes[tokens_RK],
        )

    best_RK, indices_RK = scores_RN.topk(num, dim=1)
    if not all_end:
        best_RK = best_RK.masked_fill(~ends_RN.gather(1, indices_RK), -torch.inf)
    ended = append_tokens(indices_RK, best_RK)
    open_RK, indices_RK = scores_RN.masked_fill(ends_RN, -torch.inf).topk(num, dim=1)
    return ended, append_tokens(indices_RK, open_RK), indices_RK // size


def _empty(state: GenerationState, width: int, max_tokens: int, score: float) -> Prefixes:
    """Return prefixes without a token, `width` per row, all of the same score."""
    scores_RW = state.logits.new_full((len(state), width), score)
    counts_RW = torch.zeros_like(scores_RW, dtype=torch.int64)
    return Prefixes(
        scores_RW, counts_RW[..., None].repeat(1, 1, max_tokens), counts_RW, counts_RW.clone()
    )
