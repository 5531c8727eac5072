"""All titles of a catalog as one trie of tokens, on tensors.

Nodes are numbered level by level and, within a level, in the order of their titles. So the children
of a node are adjacent and sorted by token, and a node also stands for the token on the edge to it.
Leaves, the distinct responses, are numbered in lexicographic order: those under a node are adjacent
as well, and sums over a subtree are differences of cumulative sums.

Shapes: N nodes with the root as 0, E = N - 1 edges, U leaves, I items, M beams, C candidates,
R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError

ROOT = 0
NO_NODE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Trie:
    """A trie of responses; all tensors are int64 and on one device.

    Attributes:
        tokens: Token on the edge to each node, shape (N,); 0 for the root.
        parents: Node above, shape (N,); -1 for the root.
        depths: Number of tokens from the root, shape (N,).
        first_child: The children of node n are the nodes from `first_child[n]` to
            `first_child[n + 1]`, without the latter; shape (N + 1,).
        low: First leaf under each node, shape (N,).
        high: One past its last leaf, shape (N,).
        ends: The leaf that ends at each node, shape (N,); -1 for none. A node with children can end
            a leaf only where responses lack an end token.
        deepest: Depth of the deepest leaf under each node, shape (N,).
        first_item: Smallest item position under each node, which decides ties, shape (N,).
        leaf_nodes: Node of each leaf, shape (U,).
        items: Item positions in the order of their leaves, ascending within one: items of one
            title share a leaf. Shape (I,), or less without excluded items.
        item_starts: The items of leaf u are those of `items` from `item_starts[u]` to
            `item_starts[u + 1]`, without the latter; shape (U + 1,).
        leaf_of_item: Leaf of each item of the catalog, shape (I,); -1 for an excluded one.
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
        """Number of nodes, N, with the root."""
        return len(self.tokens)

    @property
    def num_leaves(self) -> int:
        """Number of distinct responses, U."""
        return len(self.leaf_nodes)

    @cached_property
    def depth(self) -> int:
        """Tokens of the longest response; 0 without any."""
        return int(self.deepest[ROOT])

    def to(self, device: torch.device) -> Trie:
        """Return the same trie on a device."""
        tensors = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **tensors)

    def children(self, nodes_BM: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """Return the children of M nodes per row, in shapes that are known without the device.

        A node of -1 has none. C is at least the children of each row's nodes; see `max_children`.

        Returns:
            The index of each child's parent among the M, and its node, shape (B, C) each; nodes
            after a row's last child are -1.

        Example:
            A row of nodes with two children and one gives the indices [0, 0, 1] and three nodes.
        """
        first_BM, counts_BM = self.first_child[nodes_BM], self.num_children[nodes_BM]
        indices_C = torch.arange(num, device=nodes_BM.device)
        if nodes_BM.shape[1] == 1:
            ends_BM, beams_BC = counts_BM, torch.zeros_like(nodes_BM).expand(-1, num)
            children_BC = first_BM + indices_C
        else:
            ends_BM = counts_BM.cumsum(1)
            starts_BM = ends_BM - counts_BM
            # Where children of a beam start, their beam's index goes up by 1.
            steps_BC = nodes_BM.new_zeros(len(nodes_BM), num + 1)
            steps_BC.scatter_add_(1, starts_BM, torch.ones_like(starts_BM))
            beams_BC = steps_BC[:, :num].cumsum(1).sub_(1)
            children_BC = (first_BM - starts_BM).gather(1, beams_BC).add_(indices_C)
        return beams_BC, children_BC.masked_fill_(indices_C >= ends_BM[:, -1:], NO_NODE)

    def look_up(self, values_N: Tensor, nodes: Tensor) -> Tensor:
        """Return the values of nodes, of any shape, none of them -1."""
        # On a CPU three times as fast as indexing.
        return values_N.index_select(0, nodes.flatten()).view(nodes.shape)

    @cached_property
    def num_children(self) -> Tensor:
        """Number of children of each node, and 0 for -1, the last; shape (N + 1,)."""
        return torch.cat([self.first_child.diff(), self.first_child.new_zeros(1)])

    def max_children(self, depth: int, num_nodes: int) -> int:
        """Return the most children that distinct nodes of a depth have together."""
        totals = self._most_children[depth]
        return int(totals[min(num_nodes, len(totals)) - 1])

    @cached_property
    def _most_children(self) -> list[NDArray[np.int64]]:
        """Per depth, the children of the nodes with the most, added up."""
        counts_N, depths_N = np.diff(self.first_child.cpu().numpy()), self.depths.cpu().numpy()
        starts = np.searchsorted(depths_N, np.arange(1, self.depth + 1))
        return [np.sort(counts)[::-1].cumsum() for counts in np.split(counts_N, starts)]

    def follow(self, responses: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Return the node after each token of responses, shape (R, T).

        It is -1 from where a response leaves the trie, and after its end.
        """
        tokens_RT = _pad_right(responses)
        nodes_RT = np.full(tokens_RT.shape, NO_NODE, dtype=np.int64)
        # Nodes are sorted by parent and token, so the pair as one number is sorted as well.
        span = max(int(self.tokens.max()), int(tokens_RT.max(initial=0))) + 1
        pairs_E = (self.parents[1:] * span + self.tokens[1:]).cpu().numpy()
        nodes_R = np.zeros(len(tokens_RT), dtype=np.int64)
        for step in range(tokens_RT.shape[1] if len(pairs_E) else 0):
            tokens_R = tokens_RT[:, step]
            pairs_R = nodes_R * span + tokens_R
            edges_R = np.minimum(np.searchsorted(pairs_E, pairs_R), len(pairs_E) - 1)
            exists_R = (nodes_R >= 0) & (tokens_R >= 0) & (pairs_E[edges_R] == pairs_R)
            nodes_R = np.where(exists_R, edges_R + 1, NO_NODE)
            nodes_RT[:, step] = nodes_R
        return nodes_RT


def build_trie(
    responses: Sequence[Sequence[int]], allowed_I: NDArray[np.bool_] | None = None
) -> Trie:
    """Build the trie of a catalog, of all items or of the allowed ones.

    Responses are the token ids of each item's title as a model is trained to generate it, I lists.

    Raises:
        BenchError: A response has no token.
    """
    items_R = np.arange(len(responses)) if allowed_I is None else np.flatnonzero(allowed_I)
    rows_RT = _pad_right([responses[item] for item in items_R.tolist()])
    empty = [item for item in items_R.tolist() if not responses[item]]
    if empty:
        raise BenchError(f"The title of item {empty[0]} has no tokens.", "Check the data's titles.")
    # Padding is -1, so a response sorts before those that continue it. The sort is stable: the
    # items of one leaf stay in order.
    order_R = np.lexsort(rows_RT.T[::-1]) if rows_RT.size else items_R
    rows_RT, items_R = rows_RT[order_R], items_R[order_R]
    shared_R = _shared_lengths(rows_RT)
    lengths_R = np.count_nonzero(rows_RT >= 0, axis=1)
    new_R = (shared_R < rows_RT.shape[1]) | (np.arange(len(rows_RT)) == 0)
    leaves_I = np.full(len(responses), NO_NODE, dtype=np.int64)
    leaves_I[items_R] = np.cumsum(new_R) - 1
    starts_U1 = np.append(np.flatnonzero(new_R), len(order_R))
    nodes = _number_nodes(rows_RT[new_R], shared_R[new_R], lengths_R[new_R])
    arrays = nodes | {
        "deepest": _reduce_leaves(np.maximum, lengths_R[new_R], nodes, 0),
        "first_item": _reduce_leaves(np.minimum, items_R[starts_U1[:-1]], nodes, len(responses)),
        "items": items_R,
        "item_starts": starts_U1,
        "leaf_of_item": leaves_I,
    }
    return Trie(
        **{name: torch.from_numpy(value.astype(np.int64)) for name, value in arrays.items()}
    )


def _pad_right(responses: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return responses as one array, padded on the right with -1."""
    lengths = np.fromiter(map(len, responses), dtype=np.int64, count=len(responses))
    padded = np.full((len(responses), lengths.max(initial=0)), -1, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.fromiter(
        chain.from_iterable(responses), dtype=np.int64, count=int(lengths.sum())
    )
    return padded


def _shared_lengths(rows_RT: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the leading tokens, padding included, that each row shares with the one before."""
    shared = np.zeros(len(rows_RT), dtype=np.int64)
    differ = rows_RT[1:] != rows_RT[:-1]
    if differ.size:
        shared[1:] = np.where(differ.any(axis=1), differ.argmax(axis=1), rows_RT.shape[1])
    return shared


def _number_nodes(
    rows_UT: NDArray[np.int64], shared_U: NDArray[np.int64], lengths_U: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Number the nodes of sorted, distinct responses level by level."""
    num_leaves, longest = rows_UT.shape
    inside_TU = np.arange(longest)[:, None] < lengths_U
    is_new_TU = inside_TU & (np.arange(longest)[:, None] >= shared_U)
    number_TU = np.cumsum(is_new_TU, dtype=np.int64).reshape(longest, num_leaves)
    levels_E, leaves_E = np.nonzero(is_new_TU)
    parents_E = np.where(levels_E > 0, number_TU[levels_E - 1, leaves_E] if len(levels_E) else 0, 0)
    num_nodes = len(levels_E) + 1
    counts_E = np.bincount(number_TU[inside_TU], minlength=num_nodes)[1:]
    nodes_U = number_TU[lengths_U - 1, np.arange(num_leaves)] if longest else np.empty(0, np.int64)
    ends_N = np.full(num_nodes, NO_NODE, dtype=np.int64)
    ends_N[nodes_U] = np.arange(num_leaves)
    return {
        "tokens": np.append(0, rows_UT.T[is_new_TU]),
        "parents": np.append(NO_NODE, parents_E),
        "depths": np.append(0, levels_E + 1),
        "first_child": np.searchsorted(parents_E, np.arange(num_nodes + 1)) + 1,
        "low": np.append(0, leaves_E),
        "high": np.append(num_leaves, leaves_E + counts_E),
        "ends": ends_N,
        "leaf_nodes": nodes_U,
    }


def _reduce_leaves(
    function: np.ufunc,
    values_U: NDArray[np.int64],
    nodes: dict[str, NDArray[np.int64]],
    initial: int,
) -> NDArray[np.int64]:
    """Reduce a value of the leaves under each node, shape (N,)."""
    if not len(values_U):
        return np.array([initial])
    ranges = np.stack([nodes["low"], nodes["high"]], axis=1).ravel()
    reduced_N: NDArray[np.int64] = function.reduceat(np.append(values_U, initial), ranges)[::2]
    return reduced_N
