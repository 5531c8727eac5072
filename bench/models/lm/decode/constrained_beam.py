"""Beam search in the trie of a catalog's titles: whatever it finds is an item.

A token's log-probability is taken over the whole vocabulary, and only then the children of a beam's
node are considered (De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021): the probability
of impossible tokens is lost. Tokens are gathered, so nothing is masked.

Beams are one flat list. A title is a result as soon as it ends, at any rank, and the search goes on
until no prefix can improve the results. Each list comes with a certificate. As steps are at most 0,
a prefix of score s bounds all its titles by s / l ** penalty, l the tokens of the longest; if the
score at the last rank is above the bounds of all prefixes that were dropped, no wider search could
change the list. It holds for the scores as computed, in the model's own precision.

Shapes: B rows, M beams, C candidates, V vocabulary, K ranks.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NO_NODE, ROOT, Trie
from bench.plan.decoding_stages import DecodingConfig

IMPOSSIBLE = float("-inf")


class State(Protocol):
    """A language model after B prompts.

    See `bench.models.lm.decode.generation_state.GenerationState`.
    """

    @property
    def logits(self) -> Tensor:
        """Logits of the next token of each sequence, shape (M, V)."""
        ...

    def extend(self, rows: Tensor, tokens: Tensor) -> None:
        """Append tokens to these sequences, which are then the M sequences."""
        ...


class TitleLists(NamedTuple):
    """The best titles of B rows.

    Attributes:
        leaves: Leaves of the trie, best first, shape (B, K); -1 where there is no further one.
        scores: Their scores, shape (B, K), float64; -inf where there is none.
        certified: Whether no wider search could change a row's list, shape (B,).
        widths: Number of beams that each list was found with, shape (B,).
    """

    leaves: NDArray[np.int64]
    scores: NDArray[np.float64]
    certified: NDArray[np.bool_]
    widths: NDArray[np.int64]


def empty_lists(num_rows: int, num_titles: int) -> TitleLists:
    """Return lists without a title and without a certificate."""
    return TitleLists(
        leaves=np.full((num_rows, num_titles), NO_NODE, dtype=np.int64),
        scores=np.full((num_rows, num_titles), IMPOSSIBLE),
        certified=np.zeros(num_rows, dtype=np.bool_),
        widths=np.zeros(num_rows, dtype=np.int64),
    )


class _Results(NamedTuple):
    """The titles found so far: rows ascending, best first in each."""

    rows: Tensor
    leaves: Tensor
    scores: Tensor

    def ranks(self) -> Tensor:
        """Return the rank of each title within its row, from 0."""
        return _ranks_within_rows(self.rows)


def gather_scores(scores_MV: Tensor, beams_C: Tensor, tokens_C: Tensor) -> Tensor:
    """Return the scores of some tokens, shape (C,): all that the constraint costs."""
    # On a CPU ten times as fast as indexing with two tensors.
    return scores_MV.flatten().index_select(0, beams_C * scores_MV.shape[1] + tokens_C)


def token_log_probabilities(
    logits_MV: Tensor, beams_C: Tensor, tokens_C: Tensor, temperature: float
) -> Tensor:
    """Return the log-probability of some tokens over the whole vocabulary, shape (C,).

    None is above 0, however rounded: the total is the largest logit plus the logarithm of at least
    1. The certificate relies on that.
    """
    logits_MV = logits_MV.float() / temperature
    total_M = logits_MV.logsumexp(dim=-1)
    return gather_scores(logits_MV, beams_C, tokens_C) - total_M[beams_C]


def constrained_beam_search(
    state: State,
    num_rows: int,
    trie: Trie,
    guidance: Guidance,
    config: DecodingConfig,
    *,
    num_titles: int | None = None,
) -> TitleLists:
    """Search the best titles of each row once; ties go to the smaller item position.

    Args:
        state: The model after the rows' prompts; it is used up.
        num_rows: B.
        trie: On the model's device, like `guidance`.
        guidance: How steps are scored.
        config: How to search; `max_num_beams` is ignored here.
        num_titles: K; `config.num_beams` if None.
    """
    device, num_titles = trie.tokens.device, num_titles or config.num_beams
    rows_M = torch.arange(num_rows, device=device)
    nodes_M = torch.full_like(rows_M, ROOT)
    sums_M = torch.zeros(num_rows, dtype=torch.float64, device=device)
    dropped_B = torch.full((num_rows,), IMPOSSIBLE, dtype=torch.float64, device=device)
    results = _Results(rows_M[:0], rows_M[:0], sums_M[:0])
    last_B = dropped_B
    for length in range(1, trie.depth + 1):
        beams_C, nodes_C = trie.children(nodes_M)
        rows_C, tokens_C = rows_M[beams_C], trie.tokens[nodes_C]
        logps_C = token_log_probabilities(state.logits, beams_C, tokens_C, config.temperature)
        sums_C = sums_M[beams_C] + guidance.steps(trie, rows_C, nodes_C, logps_C)
        leaves_C = trie.ends[nodes_C]
        ended_C = ((leaves_C >= 0) & (sums_C > IMPOSSIBLE)).nonzero().squeeze(1)
        scores_C = sums_C[ended_C] / length**config.length_penalty
        ended = _Results(rows_C[ended_C], leaves_C[ended_C], scores_C)
        results = _merge(results, ended, trie, num_titles)
        last_B = _last_scores(results, num_rows, num_titles)
        bounds_C = sums_C / trie.deepest[nodes_C].double() ** config.length_penalty
        has_children_C = trie.first_child[nodes_C + 1] > trie.first_child[nodes_C]
        # A prefix that cannot even reach a row's last rank is dropped without loss.
        open_C = has_children_C & (bounds_C >= last_B[rows_C]) & (bounds_C > IMPOSSIBLE)
        kept_C, dropped_C = _best_of_rows(
            open_C.nonzero().squeeze(1), rows_C, sums_C, trie.first_item[nodes_C], config.num_beams
        )
        dropped_B = dropped_B.scatter_reduce(0, rows_C[dropped_C], bounds_C[dropped_C], "amax")
        if not len(kept_C):
            break
        rows_M, nodes_M, sums_M = rows_C[kept_C], nodes_C[kept_C], sums_C[kept_C]
        state.extend(beams_C[kept_C], tokens_C[kept_C])
    lists = empty_lists(num_rows, num_titles)
    indices = results.rows.cpu().numpy(), results.ranks().cpu().numpy()
    lists.leaves[indices] = results.leaves.cpu().numpy()
    lists.scores[indices] = results.scores.cpu().numpy()
    lists.certified[:] = ((last_B > dropped_B) | dropped_B.isneginf()).cpu().numpy()
    lists.widths[:] = config.num_beams
    return lists


def _best_of_rows(
    among_C: Tensor, rows_C: Tensor, scores_C: Tensor, ties_C: Tensor, num: int
) -> tuple[Tensor, Tensor]:
    """Split candidates into the best `num` of each row, sorted by row and score, and the others."""
    order = among_C[ties_C[among_C].argsort(stable=True)]
    order = order[scores_C[order].argsort(stable=True, descending=True)]
    order = order[rows_C[order].argsort(stable=True)]
    is_best = _ranks_within_rows(rows_C[order]) < num
    return order[is_best], order[~is_best]


def _ranks_within_rows(sorted_rows_C: Tensor) -> Tensor:
    indices_C = torch.arange(len(sorted_rows_C), device=sorted_rows_C.device)
    return indices_C - torch.searchsorted(sorted_rows_C, sorted_rows_C)


def _merge(results: _Results, new: _Results, trie: Trie, num_titles: int) -> _Results:
    """Add titles to the results and keep each row's best."""
    if not len(new.rows):
        return results
    rows_C, leaves_C, scores_C = (torch.cat(pair) for pair in zip(results, new, strict=True))
    indices_C = torch.arange(len(rows_C), device=rows_C.device)
    items_C = trie.first_item[trie.leaf_nodes[leaves_C]]
    best_C, _ = _best_of_rows(indices_C, rows_C, scores_C, items_C, num_titles)
    return _Results(rows_C[best_C], leaves_C[best_C], scores_C[best_C])


def _last_scores(results: _Results, num_rows: int, num_titles: int) -> Tensor:
    """Return the score at each row's last rank, shape (B,); -inf while it is empty."""
    is_last_C = results.ranks() == num_titles - 1
    last_B = results.scores.new_full((num_rows,), IMPOSSIBLE)
    last_B[results.rows[is_last_C]] = results.scores[is_last_C]
    return last_B
