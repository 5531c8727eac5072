"""What a decoding method makes of a token's log-probability: IGD's factors, D3's assistant.

IGD (arXiv 2506.13229) multiplies it by 1 - alpha g, where g scales the information gain among the
node's children to run from 0 to 1. D3 (Bao et al., EMNLP 2024) mixes it with the logarithm of an
assistant's probability of the items below the token, renormalized among the node's children. Both
leave steps at or below 0, so that a longer prefix never scores better.

Shapes: N nodes, U leaves, I items, B rows, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.decode.trie import Trie

FLOOR = 1e-20
"""Added to the assistant's mass under each token, as in D3's program."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guidance:
    """How steps are scored; as it stands, by the model's log-probability alone.

    Attributes:
        factors: Of the log-probability of each node's token, from 0 to 1, shape
            (N,), float64.
        running: The assistant's probabilities, added up over the leaves before each,
            shape (B, U + 1), float64.
        weight: The model's share of a step where there is an assistant, from 0 to 1 (D3's alpha).
    """

    factors: Tensor | None = None
    running: Tensor | None = None
    weight: float = 1.0

    def to(self, device: torch.device) -> Guidance:
        """Return the same on a device."""
        factors, running = self.factors, self.running
        return replace(
            self,
            factors=None if factors is None else factors.to(device),
            running=None if running is None else running.to(device),
        )

    def steps(self, trie: Trie, rows_C: Tensor, nodes_C: Tensor, logp_C: Tensor) -> Tensor:
        """Score steps, shape (C,), float64, at most 0; what is impossible stays so.

        Args:
            trie: The catalog's.
            rows_C: Whose prompt each candidate answers.
            nodes_C: Node that each steps to.
            logp_C: The model's log-probability of its token, over the whole vocabulary.
        """
        logp_C = logp_C.double()
        steps_C = logp_C if self.factors is None else self.factors[nodes_C] * logp_C
        if self.running is not None:
            assisted_C = self._assistant(trie, rows_C, nodes_C)
            steps_C = self.weight * steps_C + (1 - self.weight) * assisted_C
        return torch.where(logp_C.isneginf(), logp_C, steps_C)

    def _assistant(self, trie: Trie, rows_C: Tensor, nodes_C: Tensor) -> Tensor:
        assert self.running is not None
        above_C = trie.parents[nodes_C]
        first_C, after_C = trie.first_child[above_C], trie.first_child[above_C + 1]
        running_BU1 = self.running

        def mass(low_C: Tensor, high_C: Tensor) -> Tensor:
            return running_BU1[rows_C, high_C] - running_BU1[rows_C, low_C]

        own_C = mass(trie.low[nodes_C], trie.high[nodes_C]) + FLOOR
        # From the first child on: a response that ends right here is no way on.
        all_C = mass(trie.low[first_C], trie.high[above_C]) + FLOOR * (after_C - first_C)
        return (own_C.log() - all_C.log()).clamp(max=0)


def igd_guidance(scale_N: NDArray[np.float64], alpha: float) -> Guidance:
    """Favor tokens that tell more.

    Args:
        scale_N: Gains among siblings, see `bench.models.lm.train.information_gain.sibling_scale`.
        alpha: What a token of the largest gain loses of its log-probability, from 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise BenchError(f"IGD's alpha for decoding is {alpha}.", "Give a share from 0 to 1.")
    return Guidance(factors=torch.from_numpy(1 - alpha * scale_N))


def assisted(trie: Trie, probabilities_BI: NDArray[np.floating], weight: float) -> Guidance:
    """Mix in another recommender.

    Sums over a subtree are exact to about 1e-16; an item far below that counts as 1e-20.

    Args:
        trie: The catalog's, on the CPU.
        probabilities_BI: The assistant's, of every item of the catalog.
        weight: The model's share, from 0 to 1; 1 is the model alone.
    """
    if not 0 <= weight <= 1:
        raise BenchError(
            f"The language model's weight beside the assistant is {weight}.",
            "Give a share from 0 to 1.",
        )
    in_order_BI = probabilities_BI[:, trie.items.numpy()].astype(np.float64)
    running_BI1 = np.pad(np.cumsum(in_order_BI, axis=1), ((0, 0), (1, 0)))
    running_BU1 = torch.from_numpy(running_BI1[:, trie.item_starts.numpy()])
    return Guidance(running=running_BU1, weight=weight)
