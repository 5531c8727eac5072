"""Beam search over free text: the likeliest responses that a search of a given width finds.

A step extends each of the K live beginnings of a row by every token and looks at the K best
extensions: those that are complete join the K best complete ones found so far; live go on the K
best that are not complete. A response counts with the sum of its tokens' log-probabilities, the
ending token included, without a length penalty; such a sum can only fall, so a row is finished,
exactly, when its last wanted complete response is as good as its best live beginning.

Shapes: R rows, K beams, W live beginnings of a row (1, then up to K), V vocabulary, T response
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models.lm.decode.generation_state import Endings, Running, Tokens


@dataclass(frozen=True)
class Beginnings:
    """Beginnings or complete responses of R rows, W each.

    Attributes:
        scores: Sums of log-probabilities; -inf where there is none; shape (R, W).
        tokens: Token ids, of which the first `lengths` count, shape (R, W, T).
        lengths: Tokens written, shape (R, W).
        quotes: Double quotes written, shape (R, W).
    """

    scores: Tensor
    tokens: Tensor
    lengths: Tensor
    quotes: Tensor

    def rows(self, chosen: Tensor) -> Beginnings:
        """Return some rows."""
        return Beginnings(
            self.scores[chosen],
            self.tokens[chosen],
            self.lengths[chosen],
            self.quotes[chosen],
        )

    def pick(self, places_RK: Tensor, scores_RK: Tensor) -> Beginnings:
        """Return K of the W of each row, with other scores."""
        width = self.tokens.shape[-1]
        return Beginnings(
            scores_RK,
            self.tokens.gather(1, places_RK[..., None].expand(-1, -1, width)),
            self.lengths.gather(1, places_RK),
            self.quotes.gather(1, places_RK),
        )

    def joined(self, others: Beginnings) -> Beginnings:
        """Return the best of both, as many a row as before."""
        both = Beginnings(
            torch.cat([self.scores, others.scores], dim=1),
            torch.cat([self.tokens, others.tokens], dim=1),
            torch.cat([self.lengths, others.lengths], dim=1),
            torch.cat([self.quotes, others.quotes], dim=1),
        )
        best, places = both.scores.topk(self.scores.shape[1], dim=1)
        return both.pick(places, best)

    def best(self, row: int, num: int) -> list[Tokens]:
        """Return a row's best `num`; fewer where no more were found."""
        found = zip(
            self.tokens[row, :num].tolist(),
            self.lengths[row, :num].tolist(),
            self.scores[row, :num].tolist(),
            strict=True,
        )
        return [Tokens(ids[:length], score) for ids, length, score in found if score != -torch.inf]


def search(
    running: Running, endings: Endings, *, max_new_tokens: int, beams: int, num: int
) -> list[list[Tokens]]:
    """Search the likeliest texts of each row.

    Args:
        running: The batch; it is used up.
        endings: When a text is complete. A text of `max_new_tokens` tokens is, too.
        max_new_tokens: Most tokens of a text, T.
        beams: K, at least `num`.
        num: Texts a row, best first; fewer only where the vocabulary has no more to offer.
    """
    live = _empty(running, 1, max_new_tokens, 0.0)
    complete = _empty(running, beams, max_new_tokens, -torch.inf)
    rows = list(range(len(running)))
    found: list[list[Tokens]] = [[] for _ in rows]
    for step in range(max_new_tokens):
        last = step == max_new_tokens - 1
        ended, extended, parents_RK = _extend(running, live, endings, beams, everything_ends=last)
        complete = complete.joined(ended)
        done_R = (complete.scores[:, num - 1] >= extended.scores.amax(1)) | last
        for place in done_R.nonzero()[:, 0].tolist():
            found[rows[place]] = complete.best(place, num)
        kept = (~done_R).nonzero()[:, 0]
        if not len(kept):
            break
        rows = [rows[place] for place in kept.tolist()]
        running.take((kept[:, None] * live.scores.shape[1] + parents_RK[kept]).flatten())
        live, complete = extended.rows(kept), complete.rows(kept)
        running.add(live.tokens[:, :, step].flatten())
    return found


def _extend(
    running: Running, live: Beginnings, endings: Endings, beams: int, *, everything_ends: bool
) -> tuple[Beginnings, Beginnings, Tensor]:
    """Extend all beginnings by every token.

    Returns:
        The complete ones among the `beams` best; the best incomplete ones; which beginning each of
        the latter extends, shape (R, K).
    """
    num_rows, width = live.scores.shape
    log_RWV = running.logits.log_softmax(-1).view(num_rows, width, -1)
    size = log_RWV.shape[-1]
    scores_RN = (live.scores[..., None] + log_RWV).flatten(1)
    ends_RN = endings.after(live.quotes).flatten(1)
    num = min(beams, width * size)

    def longer(places_RK: Tensor, values_RK: Tensor) -> tuple[Beginnings, Tensor]:
        parents_RK, tokens_RK = places_RK // size, places_RK % size
        chosen = live.pick(parents_RK, values_RK)
        added = Beginnings(
            values_RK,
            chosen.tokens.scatter(2, chosen.lengths[..., None], tokens_RK[..., None]),
            chosen.lengths + 1,
            chosen.quotes + endings.quotes[tokens_RK],
        )
        return added, parents_RK

    best_RK, places_RK = scores_RN.topk(num, dim=1)
    if not everything_ends:
        best_RK = best_RK.masked_fill(~ends_RN.gather(1, places_RK), -torch.inf)
    ended, _ = longer(places_RK, best_RK)
    open_RK, places_RK = scores_RN.masked_fill(ends_RN, -torch.inf).topk(num, dim=1)
    extended, parents_RK = longer(places_RK, open_RK)
    return ended, extended, parents_RK


def _empty(running: Running, width: int, max_new_tokens: int, score: float) -> Beginnings:
    """Return beginnings without a token, `width` of the same score a row."""
    shape = (len(running), width)
    counts_RW = torch.zeros(shape, dtype=torch.int64, device=running.logits.device)
    return Beginnings(
        torch.full(shape, score, dtype=running.logits.dtype, device=counts_RW.device),
        counts_RW[..., None].repeat(1, 1, max_new_tokens),
        counts_RW,
        counts_RW.clone(),
    )
