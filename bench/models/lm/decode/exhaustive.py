"""The exact score of every title of a catalog: the tree is read as one branching text.

Each prompt is read once. Then the tree's nodes follow as one sequence in which a node sees the
prompt and its own way from the root, nothing else, at the position it has in its title. So every
shared beginning is computed once, not once a title. This audits the beam search, and ranks whole
catalogs.

Shapes: B prompts, L their length, E nodes of a piece of the tree, N all nodes, C children, U
leaves, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from bench.errors import BenchError
from bench.models.lm.decode.constrained_beam import log_probabilities
from bench.models.lm.decode.generation_state import left_padded, positions
from bench.models.lm.decode.guidance import Guidance
from bench.models.lm.decode.trie import ROOT, Trie

NODES_AT_ONCE = 512


def tree_pieces(trie: Trie, size: int = NODES_AT_ONCE) -> list[Tensor]:
    """Split the nodes that have children into pieces that hold the ways to their nodes.

    The root is in none of them: the prompt's last token stands for it. The ancestors of a piece's
    first node are repeated; all others have theirs in the piece.
    """
    inner = np.flatnonzero(np.diff(trie.first_child.cpu().numpy()) > 0)[1:]
    parents, depths = trie.parents.cpu().numpy(), trie.depths.cpu().numpy()
    depth_first = inner[np.lexsort([depths[inner], trie.low.cpu().numpy()[inner]])]
    pieces = []
    for start in range(0, len(depth_first), size):
        above, node = [], int(parents[depth_first[start]])
        while node != ROOT:
            above.append(node)
            node = int(parents[node])
        piece = np.concatenate([np.array(above[::-1], np.int64), depth_first[start : start + size]])
        pieces.append(torch.from_numpy(piece).to(trie.tokens.device))
    return pieces


def sees(trie: Trie, nodes_E: Tensor) -> Tensor:
    """Return which of some nodes lie on the way to each of them, itself included, shape (E, E)."""
    low_E, high_E, depths_E = trie.low[nodes_E], trie.high[nodes_E], trie.depths[nodes_E]
    inside = (low_E[None] <= low_E[:, None]) & (high_E[:, None] <= high_E[None])
    return inside & (depths_E[None] <= depths_E[:, None])


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

    Args:
        model: A causal language model of transformers whose attention takes a 4-D mask.
        prompts: Token ids, B lists.
        trie: On the model's device, like `guidance` and `pieces`.
        guidance: How steps are scored, for these rows.
        pieces: What `tree_pieces` made of the trie.
        length_penalty: See `bench.models.lm.decode.constrained_beam.Search`.
        temperature: Logits are divided by it.

    Returns:
        Scores of the leaves, shape (B, U).

    Raises:
        BenchError: The model looks back less far than prompt and title are long.
    """
    device = trie.tokens.device
    ids_BL, mask_BL = left_padded(prompts, device)
    _check_window(model, ids_BL.shape[1] + trie.depth)
    every_B = torch.arange(len(prompts), device=device)
    steps_BN = torch.zeros(len(prompts), trie.num_nodes, dtype=torch.float64, device=device)

    def note(nodes_E: Tensor, logits_BEV: Tensor) -> None:
        places_C, children_C = trie.candidates(nodes_E)
        num = len(children_C)
        nodes_BC = children_C.repeat(len(prompts))
        beams_BC = (every_B[:, None] * len(nodes_E) + places_C).flatten()
        logp_BC = log_probabilities(
            logits_BEV.flatten(0, 1), beams_BC, trie.tokens[nodes_BC], temperature
        )
        rows_BC = every_B.repeat_interleave(num)
        steps_BC = guidance.steps(trie, rows_BC, nodes_BC, logp_BC)
        steps_BN[:, children_C] = steps_BC.view(len(prompts), num)

    with torch.inference_mode():
        cache: Any = DynamicCache()
        output = model(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            position_ids=positions(mask_BL),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        note(torch.tensor([ROOT], device=device), output.logits[:, -1:])
        read = [(layer.keys, layer.values) for layer in cache.layers]
        for nodes_E in pieces:
            for layer, (keys, values) in zip(cache.layers, read, strict=True):
                layer.keys, layer.values = keys, values
            note(nodes_E, _logits(model, trie, nodes_E, mask_BL, cache))
    sums_BN = _along_the_ways(trie, steps_BN)
    lengths_U = trie.depths[trie.leaf_nodes].double()
    scores_BU: NDArray[np.float64] = (
        (sums_BN[:, trie.leaf_nodes] / lengths_U**length_penalty).cpu().numpy()
    )
    return scores_BU


def _logits(model: Any, trie: Trie, nodes_E: Tensor, mask_BL: Tensor, cache: Any) -> Tensor:
    """Read a piece of the tree after the prompts; the logits after each node, shape (B, E, V)."""
    batch, num = len(mask_BL), len(nodes_E)
    prompt_BEL = mask_BL.bool()[:, None, :].expand(batch, num, -1)
    tree_BEE = sees(trie, nodes_E).expand(batch, num, num)
    seen_B1EL = torch.cat([prompt_BEL, tree_BEE], dim=-1)[:, None]
    # That of the attention, which may differ from an adapter's.
    dtype = cache.layers[0].keys.dtype
    added_B1EL = torch.zeros(seen_B1EL.shape, dtype=dtype, device=mask_BL.device)
    added_B1EL.masked_fill_(~seen_B1EL, torch.finfo(dtype).min)
    lengths_B = mask_BL.sum(dim=-1)
    output = model(
        input_ids=trie.tokens[nodes_E].expand(batch, num),
        attention_mask=added_B1EL,
        position_ids=lengths_B[:, None] + trie.depths[nodes_E] - 1,
        past_key_values=cache,
        use_cache=True,
    )
    logits_BEV: Tensor = output.logits
    return logits_BEV


def _along_the_ways(trie: Trie, steps_BN: Tensor) -> Tensor:
    """Add up steps from the root to each node, a level at a time."""
    starts = torch.searchsorted(
        trie.depths, torch.arange(trie.depth + 2, device=trie.depths.device)
    ).tolist()
    for low, high in pairwise(starts[1:]):
        steps_BN[:, low:high] += steps_BN[:, trie.parents[low:high]]
    return steps_BN


def _check_window(model: Any, length: int) -> None:
    """Refuse a window that the tree's own mask would override."""
    window = getattr(model.config, "sliding_window", None)
    if window is not None and getattr(model.config, "use_sliding_window", True) and window < length:
        raise BenchError(
            f"The model looks back {window} tokens, and prompt and title may take {length}.",
            'Lower `context` in its card, or decode with exact="beam".',
        )
