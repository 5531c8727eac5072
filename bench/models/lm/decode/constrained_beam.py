"""Beam search in the tree of a catalog's titles: whatever it finds is an item.

A step's log-probability is taken over the whole vocabulary, and only then the children of a beam's
node are looked at (De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021): what a model puts
on impossible tokens is lost to the titles beside them. Tokens are gathered, so nothing is masked.

Beams are kept as one flat list. A title is a result as soon as it ends, at any rank, and the search
goes on until no prefix can better the results. With each list comes a certificate. As steps are at
most 0, a prefix of score s bounds all its titles by s / l ** penalty, l the tokens of the longest;
if the last place's score is above the bounds of all prefixes that fell off, no wider search could
change the list. It holds for the scores as computed, in the model's own precision.

Shapes: B rows, M beams, C candidates, V vocabulary, K places, N nodes, U leaves, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NOWHERE, ROOT, Trie

NEVER = float("-inf")


class Continuations(Protocol):
    """A language model that goes on from B prompts."""

    def start(self) -> Tensor:
        """Return the logits of each prompt's first token, shape (B, V)."""
        ...

    def extend(self, beams_M: Tensor, tokens_M: Tensor) -> Tensor:
        """Append tokens and return the logits after them, shape (M, V).

        Args:
            beams_M: Which sequence of the previous call each new one goes on from.
            tokens_M: The token appended to it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to search.

    Attributes:
        beams: Prefixes that go on at each step.
        num: Titles returned, K.
        length_penalty: A title's score is divided by its number of tokens, the end token included,
            to this power; 0 leaves sums (D3), 1 makes means (BIGRec's program).
        temperature: Logits are divided by it.
        widest: A list without certificate is searched for again with twice the beams, up to this
            many; `beams` for a single search.

    Raises:
        BenchError: A number is out of its range.
    """

    beams: int
    num: int
    length_penalty: float = 0.0
    temperature: float = 1.0
    widest: int

    def __post_init__(self) -> None:
        if self.beams < 1 or self.num < 1:
            raise BenchError(
                f"A search of {self.beams} beams for {self.num} titles finds nothing.",
                "Give 1 or more of each.",
            )
        if self.length_penalty < 0 or not self.temperature > 0:
            raise BenchError(
                f"The length penalty is {self.length_penalty} and the temperature "
                f"{self.temperature}.",
                "Give a penalty of 0 or more and a temperature above 0.",
            )
        if self.widest < self.beams:
            raise BenchError(
                f"The widest search of {self.widest} beams is narrower than the first.",
                f"Give {self.beams} or more.",
            )


class Found(NamedTuple):
    """The best titles of B rows.

    Attributes:
        leaves: Leaves of the trie, best first, shape (B, K); -1 where there is no further one.
        scores: Their scores, shape (B, K), float64; -inf where there is none.
        certified: Whether no wider search could change a row's list, shape (B,).
        widths: With how many beams each list was found, shape (B,).
    """

    leaves: NDArray[np.int64]
    scores: NDArray[np.float64]
    certified: NDArray[np.bool_]
    widths: NDArray[np.int64]


class _Results(NamedTuple):
    """The titles found so far: rows ascending, best first in each."""

    rows: Tensor
    leaves: Tensor
    scores: Tensor


def gathered(scores_MV: Tensor, beams_C: Tensor, tokens_C: Tensor) -> Tensor:
    """Take the scores of some tokens, shape (C,): all that the catalog's constraint costs."""
    # On a CPU ten times as fast as indexing with two tensors.
    return scores_MV.flatten().index_select(0, beams_C * scores_MV.shape[1] + tokens_C)


def log_probabilities(
    logits_MV: Tensor, beams_C: Tensor, tokens_C: Tensor, temperature: float
) -> Tensor:
    """Return the log-probability of some tokens over the whole vocabulary, shape (C,).

    None is above 0, however rounded: the total is the largest logit plus the logarithm of at least
    1. The certificate counts on that.
    """
    logits_MV = logits_MV.float() / temperature
    total_M = logits_MV.logsumexp(dim=-1)
    return gathered(logits_MV, beams_C, tokens_C) - total_M[beams_C]


def beam_search(
    continuations: Continuations, num_rows: int, trie: Trie, guidance: Guidance, search: Search
) -> Found:
    """Find the best titles of each row with `search.beams` beams, once.

    Ties go to the smaller item position.

    Args:
        continuations: The model at the rows' prompts.
        num_rows: How many there are, B.
        trie: On the model's device, like `guidance`.
        guidance: How steps are scored.
        search: How to search.
    """
    device = trie.tokens.device
    rows_M = torch.arange(num_rows, device=device)
    nodes_M = torch.full_like(rows_M, ROOT)
    sums_M = torch.zeros(num_rows, dtype=torch.float64, device=device)
    lost_B = torch.full((num_rows,), NEVER, dtype=torch.float64, device=device)
    results = _Results(rows_M[:0], rows_M[:0], sums_M[:0])
    last_B = lost_B
    logits_MV = continuations.start()
    for length in range(1, trie.depth + 1):
        beams_C, nodes_C = trie.candidates(nodes_M)
        rows_C, tokens_C = rows_M[beams_C], trie.tokens[nodes_C]
        logp_C = log_probabilities(logits_MV, beams_C, tokens_C, search.temperature)
        sums_C = sums_M[beams_C] + guidance.steps(trie, rows_C, nodes_C, logp_C)
        ends_C = trie.ends[nodes_C]
        done_C = ((ends_C >= 0) & (sums_C > NEVER)).nonzero().squeeze(1)
        scores_C = sums_C[done_C] / length**search.length_penalty
        results = _merged(results, _Results(rows_C[done_C], ends_C[done_C], scores_C), trie, search)
        last_B = _last_places(results, num_rows, search.num)
        bounds_C = sums_C / trie.deepest[nodes_C].double() ** search.length_penalty
        further_C = trie.first_child[nodes_C + 1] > trie.first_child[nodes_C]
        # What cannot even reach a row's last place is no loss.
        open_C = further_C & (bounds_C >= last_B[rows_C]) & (bounds_C > NEVER)
        kept_C, lost_C = _best_of_rows(
            open_C.nonzero().squeeze(1), rows_C, sums_C, trie.first_item[nodes_C], search.beams
        )
        lost_B = lost_B.scatter_reduce(0, rows_C[lost_C], bounds_C[lost_C], "amax")
        if not len(kept_C):
            break
        rows_M, nodes_M, sums_M = rows_C[kept_C], nodes_C[kept_C], sums_C[kept_C]
        logits_MV = continuations.extend(beams_C[kept_C], tokens_C[kept_C])
    certified_B = (last_B > lost_B) | lost_B.isneginf()
    return _found(results, certified_B, num_rows, search)


def widening_search(
    at: Callable[[NDArray[np.int64]], Continuations],
    batches: Callable[[NDArray[np.int64], int], Sequence[NDArray[np.int64]]],
    num_rows: int,
    trie: Trie,
    guidance: Callable[[NDArray[np.int64]], Guidance],
    search: Search,
) -> Found:
    """Search all rows, and those without a certificate again with twice the beams each time.

    Args:
        at: Returns the model at the prompts of some rows.
        batches: Splits rows into those that are searched together, given the beams.
        num_rows: How many there are, B.
        trie: On the model's device.
        guidance: Returns how the steps of some rows are scored, on the same device.
        search: How to search.
    """
    found = Found(
        leaves=np.full((num_rows, search.num), NOWHERE, dtype=np.int64),
        scores=np.full((num_rows, search.num), NEVER),
        certified=np.zeros(num_rows, dtype=np.bool_),
        widths=np.zeros(num_rows, dtype=np.int64),
    )
    beams = search.beams
    while len(todo := np.flatnonzero(~found.certified)):
        narrow = replace(search, beams=beams)
        for rows in batches(todo, beams):
            part = beam_search(at(rows), len(rows), trie, guidance(rows), narrow)
            for whole, piece in zip(found, part, strict=True):
                whole[rows] = piece
        if beams == search.widest:
            break
        beams = min(2 * beams, search.widest)
    return found


def _best_of_rows(
    among_C: Tensor, rows_C: Tensor, scores_C: Tensor, ties_C: Tensor, num: int
) -> tuple[Tensor, Tensor]:
    """Split candidates into the best `num` of each row, sorted by row and score, and the others."""
    order = among_C[ties_C[among_C].argsort(stable=True)]
    order = order[scores_C[order].argsort(stable=True, descending=True)]
    order = order[rows_C[order].argsort(stable=True)]
    sorted_rows = rows_C[order]
    places = torch.arange(len(order), device=order.device)
    best = places - torch.searchsorted(sorted_rows, sorted_rows) < num
    return order[best], order[~best]


def _merged(results: _Results, new: _Results, trie: Trie, search: Search) -> _Results:
    """Add titles to the results and keep each row's best."""
    if not len(new.rows):
        return results
    rows_C, leaves_C, scores_C = (torch.cat(pair) for pair in zip(results, new, strict=True))
    every_C = torch.arange(len(rows_C), device=rows_C.device)
    items_C = trie.first_item[trie.leaf_nodes[leaves_C]]
    kept_C, _ = _best_of_rows(every_C, rows_C, scores_C, items_C, search.num)
    return _Results(rows_C[kept_C], leaves_C[kept_C], scores_C[kept_C])


def _last_places(results: _Results, num_rows: int, num: int) -> Tensor:
    """Return the score at each row's last place, shape (B,); -inf where places are free."""
    places_C = _places(results)
    full_C = places_C == num - 1
    last_B = results.scores.new_full((num_rows,), NEVER)
    last_B[results.rows[full_C]] = results.scores[full_C]
    return last_B


def _places(results: _Results) -> Tensor:
    every_C = torch.arange(len(results.rows), device=results.rows.device)
    return every_C - torch.searchsorted(results.rows, results.rows)


def _found(results: _Results, certified_B: Tensor, num_rows: int, search: Search) -> Found:
    leaves_BK = np.full((num_rows, search.num), NOWHERE, dtype=np.int64)
    scores_BK = np.full((num_rows, search.num), NEVER)
    at = results.rows.cpu().numpy(), _places(results).cpu().numpy()
    leaves_BK[at] = results.leaves.cpu().numpy()
    scores_BK[at] = results.scores.cpu().numpy()
    widths_B = np.full(num_rows, search.beams, dtype=np.int64)
    return Found(leaves_BK, scores_BK, certified_B.cpu().numpy(), widths_B)
