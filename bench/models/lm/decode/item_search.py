"""The best titles of a catalog for many prompts: by beam search, or by scoring all of them.

Shapes: B rows of a batch, K ranks, U leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.ranking import LIST_ENDS, Ranking, top_items
from bench.models.lm.decode.constrained_beam import (
    IMPOSSIBLE,
    TitleLists,
    constrained_beam_search,
    empty_lists,
)
from bench.models.lm.decode.exhaustive import PIECE_SIZE, score_titles, split_tree
from bench.models.lm.decode.generation_state import (
    TOKENS_PER_TEXT,
    GenerationState,
    count_cache_tokens,
    shares_prompts,
)
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NO_NODE, Trie
from bench.models.lm.devices import count_free_bytes
from bench.models.progress import report_progress
from bench.plan.language_stages import DecodingConfig

CPU_MAX_SEQUENCES = 512
CPU_MAX_LOGITS = 2**27
LOGIT_BYTES = 12
"""Bytes of a logit: in bfloat16 and float32, and once more while probabilities are summed."""

Guide: TypeAlias = Callable[[NDArray[np.int64]], Guidance]


@torch.inference_mode()
def search_titles(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trie: Trie,
    guide: Guide,
    config: DecodingConfig,
    *,
    divisor: int = 1,
) -> TitleLists:
    """Search the best `config.num_beams` titles of each prompt by constrained beam search.

    Prompts without a certificate are searched again with twice the beams each time.

    Args:
        model: A causal language model of transformers.
        prompts: Token ids.
        trie: The titles, on the CPU.
        guide: Returns how the steps of some prompts are scored.
        config: How to search, with up to `max_num_beams`.
        divisor: Batches are smaller by it.
    """
    device = next(model.parameters()).device
    device_trie, lists = trie.to(device), empty_lists(len(prompts), config.num_beams)
    max_sequences = CPU_MAX_SEQUENCES
    if device.type == "cuda":
        sharing = config.num_beams if shares_prompts(model) else 1
        longest = max(map(len, prompts), default=0) // sharing + trie.depth
        max_sequences = count_cache_tokens(model) // max(longest, TOKENS_PER_TEXT)
    max_sequences = max(max_sequences // divisor, 1)
    num_beams, max_num_beams = config.num_beams, config.max_num_beams or config.num_beams
    while len(open_rows := np.flatnonzero(~lists.certified)):
        wider = replace(config, num_beams=num_beams)
        batch_size = max(max_sequences // num_beams, 1)
        # The longest first: memory runs out early or never.
        num_done = 0
        for rows in reversed(split_by_length(prompts, open_rows, batch_size)):
            state = GenerationState(model, [prompts[row] for row in rows])
            guidance = guide(rows).to(device)
            new_lists = constrained_beam_search(
                state, len(rows), device_trie, guidance, wider, num_titles=config.num_beams
            )
            for values, new_values in zip(lists, new_lists, strict=True):
                values[rows] = new_values
            num_done += len(rows)
            report_progress(num_done, len(open_rows), f"prompts with {num_beams} beams")
        if num_beams >= max_num_beams:
            break
        num_beams = min(2 * num_beams, max_num_beams)
    return lists


@torch.inference_mode()
def score_all_titles(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trie: Trie,
    guide: Guide,
    config: DecodingConfig,
    *,
    divisor: int = 1,
) -> TitleLists:
    """Score every title for every prompt; arguments and result are those of `search_titles`.

    Every list is certified, and its width is the number of titles.
    """
    device = next(model.parameters()).device
    device_trie, num_leaves = trie.to(device), trie.num_leaves
    num_titles = min(config.num_beams, num_leaves)
    pieces = split_tree(device_trie, max(PIECE_SIZE // divisor, 1))
    longest = max(map(len, pieces), default=1)
    max_logits = CPU_MAX_LOGITS
    if device.type == "cuda":
        max_logits = count_free_bytes() // 2 // LOGIT_BYTES
    batch_size = max_logits // divisor // (model.config.vocab_size * longest)
    # The smaller item position wins ties, and leaves have another order.
    by_item_U = trie.first_item[trie.leaf_nodes].argsort().numpy()
    lists = empty_lists(len(prompts), config.num_beams)
    lists.certified[:] = True
    lists.widths[:] = num_leaves
    num_done = 0
    for rows in split_by_length(prompts, np.arange(len(prompts)), max(batch_size, 1)):
        scores_BU = score_titles(
            model,
            [prompts[row] for row in rows],
            device_trie,
            guide(rows).to(device),
            pieces,
            length_penalty=config.length_penalty,
            temperature=config.temperature,
        )
        best_BK = by_item_U[top_items(-scores_BU[:, by_item_U], num_titles)]
        scores_BK = np.take_along_axis(scores_BU, best_BK, axis=1)
        lists.leaves[rows, :num_titles] = np.where(scores_BK > IMPOSSIBLE, best_BK, NO_NODE)
        lists.scores[rows, :num_titles] = scores_BK
        num_done += len(rows)
        report_progress(num_done, len(prompts), "prompts")
    return lists


def split_by_length(
    prompts: Sequence[Sequence[int]], rows: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.int64]]:
    """Split rows into batches of prompts of nearly the same length."""
    lengths = np.array([len(prompts[row]) for row in rows], dtype=np.int64)
    ordered = rows[np.argsort(lengths, kind="stable")]
    return [ordered[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def rank_items(lists: TitleLists, trie: Trie, *, num_ranks: int) -> Ranking:
    """Turn lists of titles into a ranking of all their items, those of one title in item order.

    Args:
        lists: The titles.
        trie: On the CPU.
        num_ranks: Ranks to store; those after the items mark the end of the list.
    """
    items = np.full((len(lists.leaves), num_ranks), LIST_ENDS, dtype=np.int32)
    scores = np.full(items.shape, np.nan)
    starts, items_of_leaves = trie.item_starts.numpy(), trie.items.numpy()
    for row, leaves in enumerate(lists.leaves):
        leaves = leaves[leaves >= 0]
        counts = starts[leaves + 1] - starts[leaves]
        length = min(num_ranks, int(counts.sum()))
        if length:
            items_of_titles = [items_of_leaves[starts[leaf] : starts[leaf + 1]] for leaf in leaves]
            items[row, :length] = np.concatenate(items_of_titles)[:length]
            scores[row, :length] = np.repeat(lists.scores[row, : len(leaves)], counts)[:length]
    return Ranking(items=items, scores=scores)
