"""The best titles of a catalog for many prompts: searched for with beams, or all of them scored.

Shapes: B rows of a batch, K places, U leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.ranking import LIST_ENDS, Ranking, top_items
from bench.models.lm.decode.constrained_beam import NEVER, Found, Search, widening_search
from bench.models.lm.decode.exhaustive import NODES_AT_ONCE, score_titles, tree_pieces
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NOWHERE, Trie
from bench.models.lm.prompted import PromptedModel, batches_by_length

SEQUENCES_AT_ONCE = 512
LOGITS_AT_ONCE = 2**27


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is asked of a language model.

    Attributes:
        prompts: Token ids.
        trie: The titles to choose from, on the CPU.
        guidance: Returns how the steps of some prompts are scored.
        search: How to search; its `num` is the titles of a list.
    """

    prompts: Sequence[Sequence[int]]
    trie: Trie
    guidance: Callable[[NDArray[np.int64]], Guidance]
    search: Search


def by_beams(model: Any, device: torch.device, asked: Question, *, divisor: int = 1) -> Found:
    """Search with beams, wider where there is no certificate and `search.widest` allows it.

    Args:
        model: A causal language model of transformers.
        device: Where it lies.
        asked: The prompts and what goes with them.
        divisor: Batches are smaller by it.
    """
    at_once = max(SEQUENCES_AT_ONCE // divisor, 1)

    def at(rows: NDArray[np.int64]) -> PromptedModel:
        return PromptedModel(model, [asked.prompts[row] for row in rows])

    return widening_search(
        at,
        lambda rows, beams: batches_by_length(asked.prompts, rows, max(at_once // beams, 1)),
        len(asked.prompts),
        asked.trie.to(device),
        lambda rows: asked.guidance(rows).to(device),
        asked.search,
    )


def by_all_items(model: Any, device: torch.device, asked: Question, *, divisor: int = 1) -> Found:
    """Score every title for every prompt; arguments and result are those of `by_beams`.

    Every list is certified, and its width is the number of titles.
    """
    search, trie, num_rows = asked.search, asked.trie.to(device), len(asked.prompts)
    num = min(search.num, trie.num_leaves)
    nodes_at_once = max(NODES_AT_ONCE // divisor, 1)
    pieces = tree_pieces(trie, nodes_at_once)
    longest = max(map(len, pieces), default=1)
    rows_at_once = LOGITS_AT_ONCE // divisor // (model.config.vocab_size * longest)
    # Of equal scores the smaller item position wins, and leaves have another order.
    by_item_U = asked.trie.first_item[asked.trie.leaf_nodes].argsort().numpy()
    found = Found(
        leaves=np.full((num_rows, search.num), NOWHERE, dtype=np.int64),
        scores=np.full((num_rows, search.num), NEVER),
        certified=np.ones(num_rows, dtype=np.bool_),
        widths=np.full(num_rows, trie.num_leaves, dtype=np.int64),
    )
    for rows in batches_by_length(asked.prompts, np.arange(num_rows), max(rows_at_once, 1)):
        scores_BU = score_titles(
            model,
            [asked.prompts[row] for row in rows],
            trie,
            asked.guidance(rows).to(device),
            pieces,
            length_penalty=search.length_penalty,
            temperature=search.temperature,
        )
        best_BK = by_item_U[top_items(-scores_BU[:, by_item_U], num)]
        scores_BK = np.take_along_axis(scores_BU, best_BK, axis=1)
        found.leaves[rows, :num] = np.where(scores_BK > NEVER, best_BK, NOWHERE)
        found.scores[rows, :num] = scores_BK
    return found


def item_ranking(found: Found, trie: Trie, *, num: int, places: int) -> Ranking:
    """Put all items of a title in its place, in item order.

    Args:
        found: The titles.
        trie: On the CPU.
        num: Most items of a list.
        places: Of the ranking; those after the items say that the list has ended.
    """
    items = np.full((len(found.leaves), places), LIST_ENDS, dtype=np.int32)
    scores = np.full(items.shape, np.nan)
    starts, of_leaf = trie.item_starts.numpy(), trie.items.numpy()
    for row, leaves in enumerate(found.leaves):
        known = leaves[leaves >= 0]
        counts = starts[known + 1] - starts[known]
        length = min(num, places, int(counts.sum()))
        if length:
            listed = [of_leaf[starts[leaf] : starts[leaf + 1]] for leaf in known]
            items[row, :length] = np.concatenate(listed)[:length]
            scores[row, :length] = np.repeat(found.scores[row, : len(known)], counts)[:length]
    return Ranking(items=items, scores=scores)
