"""The best titles of a catalog for many prompts: by beam search, or by scoring all of them.

The exact score of every title reads the trie as one branching text. Each prompt is read once. Then
the trie's nodes follow as one sequence in which a node attends to the prompt and to its own path
from the root only, at the position it has in its title. So every shared prefix is computed once,
not once per title. This audits the beam search, and ranks whole catalogs.

Shapes: B prompts, L their length, E nodes of a piece of the trie, N all nodes, C children, U
leaves, V vocabulary, K ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from bench.data.ranking import LIST_ENDS, Ranking, top_items
from bench.errors import BenchError
from bench.models.lm.decode.constrained_beam import (
    IMPOSSIBLE,
    TitleLists,
    constrained_beam_search,
    empty_lists,
    token_log_probabilities,
)
from bench.models.lm.decode.generation_state import (
    TOKENS_PER_TEXT,
    GenerationState,
    count_cache_tokens,
    count_positions,
    pad_left,
    shares_prompts,
)
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import NO_NODE, ROOT, Trie
from bench.models.lm.devices import count_free_bytes
from bench.models.progress import report_progress
from bench.plan.language_stages import DecodingConfig

PIECE_SIZE = 512

CPU_MAX_SEQUENCES = 512
CPU_MAX_LOGITS = 2**27
LOGIT_BYTES = 12
"""Bytes of a logit: in bfloat16 and float32, and once more while probabilities are summed."""
Guide: TypeAlias = Callable[[NDArray[np.int64]], Guidance]


def split_tree(trie: Trie, size: int = PIECE_SIZE) -> list[Tensor]:
    """Split the nodes that have children, in depth-first order, into pieces with complete paths.

    A piece begins with the ancestors of its first node; the ancestors of all others follow in it.
    The root is in no piece: the prompt's last token replaces it.
    """
    inner = np.flatnonzero(np.diff(trie.first_child.cpu().numpy()) > 0)[1:]
    parents, depths = trie.parents.cpu().numpy(), trie.depths.cpu().numpy()
    depth_first = inner[np.lexsort([depths[inner], trie.low.cpu().numpy()[inner]])]
    pieces = []
    for start in range(0, len(depth_first), size):
        path, node = [], int(parents[depth_first[start]])
        while node != ROOT:
            path.append(node)
            node = int(parents[node])
        piece = np.concatenate([np.array(path[::-1], np.int64), depth_first[start : start + size]])
        pieces.append(torch.from_numpy(piece).to(trie.tokens.device))
    return pieces


def on_path(trie: Trie, nodes_E: Tensor) -> Tensor:
    """Return which of the nodes lie on the path to each of them, itself included, (E, E)."""
    low_E, high_E, depths_E = trie.low[nodes_E], trie.high[nodes_E], trie.depths[nodes_E]
    is_above = (low_E[None] <= low_E[:, None]) & (high_E[:, None] <= high_E[None])
    return is_above & (depths_E[None] <= depths_E[:, None])


def score_titles(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trie: Trie,
    guidance: Guidance,
    pieces: Sequence[Tensor],
    *,
    length_penalty: float = 0.0,
    temperature: float = 1.0,
) -> NDArray[np.float64]:
    """Score every title for each of a batch of prompts.

    The model's attention takes a 4-D mask. Trie, guidance and pieces, those of `split_tree`, are on
    its device. Logits are divided by the temperature, and a title's score by its number of tokens
    to the power of `length_penalty`.

    Returns:
        Scores of the leaves, shape (B, U).

    Raises:
        BenchError: Prompt and title exceed the model's sliding window.
    """
    device = trie.tokens.device
    ids_BL, mask_BL = pad_left(prompts, device)
    _check_window(model, ids_BL.shape[1] + trie.depth)
    prompts_B = torch.arange(len(prompts), device=device)
    steps_BN = torch.zeros(len(prompts), trie.num_nodes, dtype=torch.float64, device=device)

    def store_steps(nodes_E: Tensor, logits_BEV: Tensor) -> None:
        num = int((trie.first_child[nodes_E + 1] - trie.first_child[nodes_E]).sum())
        parents_C, children_C = (values_1C[0] for values_1C in trie.children(nodes_E[None], num))
        nodes_BC = children_C.repeat(len(prompts))
        beams_BC = (prompts_B[:, None] * len(nodes_E) + parents_C).flatten()
        logps_BC = token_log_probabilities(
            logits_BEV.flatten(0, 1), beams_BC, trie.tokens[nodes_BC], temperature
        )
        rows_BC = prompts_B.repeat_interleave(len(children_C))
        steps_BC = guidance.steps(trie, rows_BC, nodes_BC, logps_BC)
        steps_BN[:, children_C] = steps_BC.view(len(prompts), len(children_C))

    with torch.inference_mode():
        cache: Any = DynamicCache()
        output = model(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            position_ids=count_positions(mask_BL),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        store_steps(torch.tensor([ROOT], device=device), output.logits[:, -1:])
        of_prompts = [(layer.keys, layer.values) for layer in cache.layers]
        for nodes_E in pieces:
            for layer, (keys, values) in zip(cache.layers, of_prompts, strict=True):
                layer.keys, layer.values = keys, values
            store_steps(nodes_E, _read_piece(model, trie, nodes_E, mask_BL, cache))
    sums_BN = _sum_over_paths(trie, steps_BN)
    lengths_U = trie.depths[trie.leaf_nodes].double()
    scores_BU = sums_BN[:, trie.leaf_nodes] / lengths_U**length_penalty
    return np.asarray(scores_BU.cpu())


def _read_piece(model: Any, trie: Trie, nodes_E: Tensor, mask_BL: Tensor, cache: Any) -> Tensor:
    """Read a piece of the trie after the prompts; the logits after each node, shape (B, E, V)."""
    batch, num = len(mask_BL), len(nodes_E)
    prompt_BEL = mask_BL.bool()[:, None, :].expand(batch, num, -1)
    path_BEE = on_path(trie, nodes_E).expand(batch, num, num)
    visible_B1EL = torch.cat([prompt_BEL, path_BEE], dim=-1)[:, None]
    # The dtype of the attention, which may differ from an adapter's.
    dtype = cache.layers[0].keys.dtype
    bias_B1EL = torch.zeros(visible_B1EL.shape, dtype=dtype, device=mask_BL.device)
    bias_B1EL.masked_fill_(~visible_B1EL, torch.finfo(dtype).min)
    lengths_B = mask_BL.sum(dim=-1)
    output = model(
        input_ids=trie.tokens[nodes_E].expand(batch, num),
        attention_mask=bias_B1EL,
        position_ids=lengths_B[:, None] + trie.depths[nodes_E] - 1,
        past_key_values=cache,
        use_cache=True,
    )
    logits_BEV: Tensor = output.logits
    return logits_BEV


def _sum_over_paths(trie: Trie, steps_BN: Tensor) -> Tensor:
    """Sum steps from the root to each node, level by level."""
    starts = torch.searchsorted(
        trie.depths, torch.arange(trie.depth + 2, device=trie.depths.device)
    ).tolist()
    for low, high in pairwise(starts[1:]):
        steps_BN[:, low:high] += steps_BN[:, trie.parents[low:high]]
    return steps_BN


def _check_window(model: Any, length: int) -> None:
    """Refuse a sliding window that the trie's own mask would override."""
    window = getattr(model.config, "sliding_window", None)
    if window is not None and getattr(model.config, "use_sliding_window", True) and window < length:
        raise BenchError(
            f"The sliding window has {window} tokens, and prompt and title up to {length}.",
            'Lower `context` in the model\'s card, or set search = "beam".',
        )


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

    Prompts without a certificate are searched again with twice the beams each time, up to
    `config.max_num_beams`. The trie is on the CPU; `guide` returns how the steps of some prompts
    are scored; batches are smaller by `divisor`.
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

    The trie is on the CPU. Ranks after the last item mark the end of the list.
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
