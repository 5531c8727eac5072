"""All titles of a catalog as one tree of tokens, on tensors.

Nodes are numbered level by level and, within a level, in the order of the titles they lead to. So
the children of a node are neighbors, sorted by token, and a node stands for its own number and for
the token on the edge to it. Leaves, the distinct responses, are numbered in lexicographic order:
those under a node are neighbors, too, and sums over a subtree are differences of running sums.

Shapes: N nodes with the root as 0, U leaves, I items, M beams, C candidates, R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError

ROOT = 0
NOWHERE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Trie:
    """A tree of responses; all tensors are int64 and lie on one device.

    Attributes:
        tokens: Token on the edge to each node, shape (N,); -1 for the root.
        parents: Node above, shape (N,); -1 for the root.
        depths: Tokens from the root, so those of a response that ends there, shape (N,).
        first_child: The children of node n are the nodes from `first_child[n]` to
            `first_child[n + 1]`, without the latter; shape (N + 1,).
        low: First leaf under each node, shape (N,).
        high: One past its last leaf, shape (N,).
        ends: The leaf that ends at each node, shape (N,); -1 for none. Only where responses lack an
            end token does a node with children end a leaf.
        deepest: Depth of the deepest leaf under each node, shape (N,).
        first_item: Smallest item position under each node, which decides ties, shape (N,).
        leaf_nodes: Where each leaf ends, shape (U,).
        items: Item positions in the order of their leaves, ascending within one: items of one
            title share a leaf. Items that were left out are absent; otherwise shape (I,).
        item_starts: The items of leaf u are those of `items` from `item_starts[u]` to
            `item_starts[u + 1]`, without the latter; shape (U + 1,).
        leaf_of_item: Leaf of each item of the catalog, shape (I,); -1 for one left out.
    """

    tokens: Tensor
    parents: Tensor
    depths: Tensor
    first_child: Tensor
    low: Tensor
    high: Tensor
    ends: Tensor
    deepest: Tensor
    first_item: Tensor
    leaf_nodes: Tensor
    items: Tensor
    item_starts: Tensor
    leaf_of_item: Tensor

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, with the root."""
        return len(self.tokens)

    @property
    def num_leaves(self) -> int:
        """How many distinct responses there are."""
        return len(self.leaf_nodes)

    @property
    def depth(self) -> int:
        """Tokens of the longest response; 0 where there is none."""
        return int(self.deepest[ROOT])

    def to(self, device: torch.device) -> Trie:
        """Return the same tree on a device."""
        tensors = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **tensors)

    def candidates(self, nodes_M: Tensor) -> tuple[Tensor, Tensor]:
        """Return all children of some nodes: which of the M each belongs to, and its own number.

        Example:
            Nodes with two and one children give the beams [0, 0, 1] beside three node numbers.
        """
        first_M = self.first_child[nodes_M]
        counts_M = self.first_child[nodes_M + 1] - first_M
        beams_C = torch.repeat_interleave(counts_M)
        before_M = counts_M.cumsum(0) - counts_M
        places_C = torch.arange(len(beams_C), device=nodes_M.device)
        return beams_C, places_C + (first_M - before_M)[beams_C]

    def follow(self, responses: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Walk along responses from the root.

        Returns:
            The node after each token, shape (R, T); -1 from where a response leaves the tree, and
            after its end.
        """
        tokens_RT = _padded(responses)
        nodes_RT = np.full(tokens_RT.shape, NOWHERE, dtype=np.int64)
        # Nodes are sorted by parent and token, so the pair as one number is sorted as well.
        span = max(int(self.tokens.max()), int(tokens_RT.max(initial=0))) + 1
        pairs_E = (self.parents[1:] * span + self.tokens[1:]).cpu().numpy()
        at_R = np.zeros(len(tokens_RT), dtype=np.int64)
        for place in range(tokens_RT.shape[1] if len(pairs_E) else 0):
            token_R = tokens_RT[:, place]
            wanted_R = at_R * span + token_R
            found_R = np.minimum(np.searchsorted(pairs_E, wanted_R), len(pairs_E) - 1)
            there_R = (at_R >= 0) & (token_R >= 0) & (pairs_E[found_R] == wanted_R)
            at_R = np.where(there_R, found_R + 1, NOWHERE)
            nodes_RT[:, place] = at_R
        return nodes_RT


def build_trie(responses: Sequence[Sequence[int]], kept_I: NDArray[np.bool_] | None = None) -> Trie:
    """Build the tree of a catalog.

    Args:
        responses: Token ids of each item's title as a model is trained to write it (see
            `bench.models.lm.tokenization.encode_responses`), I lists.
        kept_I: Which items may be generated; None for all.

    Raises:
        BenchError: A response has no token.
    """
    kept_I = np.ones(len(responses), dtype=np.bool_) if kept_I is None else kept_I
    kept = np.flatnonzero(kept_I)
    rows_RT = _padded([responses[item] for item in kept.tolist()])
    empty = [item for item in kept.tolist() if not responses[item]]
    if empty:
        raise BenchError(f"Item {empty[0]} has a title of no tokens.", "Look at the data's titles.")
    # Padding is -1, so a response stands before those that go on after it. The sort is stable: the
    # items of one leaf stay in order.
    order_R = np.lexsort(rows_RT.T[::-1]) if rows_RT.size else kept
    rows_RT = rows_RT[order_R]
    shared_R = _shared(rows_RT)
    lengths_R = np.count_nonzero(rows_RT >= 0, axis=1)
    new_R = (shared_R < rows_RT.shape[1]) | (np.arange(len(rows_RT)) == 0)
    leaves_R = np.cumsum(new_R) - 1
    leaves_I = np.full(len(responses), NOWHERE, dtype=np.int64)
    leaves_I[kept[order_R]] = leaves_R
    starts_U1 = np.append(np.flatnonzero(new_R), len(order_R))
    nodes = _nodes(rows_RT[new_R], shared_R[new_R], lengths_R[new_R])
    first_U = kept[order_R][starts_U1[:-1]]
    arrays = nodes | {
        "deepest": _over_leaves(np.maximum, lengths_R[new_R], nodes, 0),
        "first_item": _over_leaves(np.minimum, first_U, nodes, len(responses)),
        "items": kept[order_R],
        "item_starts": starts_U1,
        "leaf_of_item": leaves_I,
    }
    return Trie(
        **{name: torch.from_numpy(value.astype(np.int64)) for name, value in arrays.items()}
    )


def _padded(responses: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Put responses into one array, padded on the right with -1."""
    lengths = np.fromiter(map(len, responses), dtype=np.int64, count=len(responses))
    padded = np.full((len(responses), lengths.max(initial=0)), -1, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.fromiter(
        chain.from_iterable(responses), dtype=np.int64, count=int(lengths.sum())
    )
    return padded


def _shared(rows_RT: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the tokens, padding included, that each row begins with as the one before does."""
    shared = np.zeros(len(rows_RT), dtype=np.int64)
    differ = rows_RT[1:] != rows_RT[:-1]
    if differ.size:
        shared[1:] = np.where(differ.any(axis=1), differ.argmax(axis=1), rows_RT.shape[1])
    return shared


def _nodes(
    rows_UT: NDArray[np.int64], shared_U: NDArray[np.int64], lengths_U: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Number the nodes of sorted, distinct responses level by level."""
    num_leaves, longest = rows_UT.shape
    inside_TU = np.arange(longest)[:, None] < lengths_U
    fresh_TU = inside_TU & (np.arange(longest)[:, None] >= shared_U)
    number_TU = np.cumsum(fresh_TU, dtype=np.int64).reshape(longest, num_leaves)
    levels_E, leaves_E = np.nonzero(fresh_TU)
    above_E = np.where(levels_E > 0, number_TU[levels_E - 1, leaves_E] if len(levels_E) else 0, 0)
    num_nodes = len(levels_E) + 1
    counts_E = np.bincount(number_TU[inside_TU], minlength=num_nodes)[1:]
    nodes_U = number_TU[lengths_U - 1, np.arange(num_leaves)] if longest else np.empty(0, np.int64)
    ends_N = np.full(num_nodes, NOWHERE, dtype=np.int64)
    ends_N[nodes_U] = np.arange(num_leaves)
    return {
        "tokens": np.append(NOWHERE, rows_UT.T[fresh_TU]),
        "parents": np.append(NOWHERE, above_E),
        "depths": np.append(0, levels_E + 1),
        "first_child": np.searchsorted(above_E, np.arange(num_nodes + 1)) + 1,
        "low": np.append(0, leaves_E),
        "high": np.append(num_leaves, leaves_E + counts_E),
        "ends": ends_N,
        "leaf_nodes": nodes_U,
    }


def _over_leaves(
    function: np.ufunc,
    values_U: NDArray[np.int64],
    nodes: dict[str, NDArray[np.int64]],
    of_none: int,
) -> NDArray[np.int64]:
    """Reduce a value of the leaves under each node."""
    if not len(values_U):
        return np.array([of_none])
    ranges = np.stack([nodes["low"], nodes["high"]], axis=1).ravel()
    reduced: NDArray[np.int64] = function.reduceat(np.append(values_U, of_none), ranges)[::2]
    return reduced
