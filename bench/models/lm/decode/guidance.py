"""Guidance of constrained decoding: IGD's factors and D3's assistant on log-probabilities.

IGD (arXiv 2506.13229) multiplies a token's log-probability by 1 - alpha g, where g scales the
information gain among the node's children to run from 0 to 1. D3 (Bao et al., EMNLP 2024) mixes it
with the logarithm of an assistant's probability of the items below the token, renormalized among
the node's children. Both leave steps at or below 0, so that a longer prefix never scores better.

Shapes: N nodes, U leaves, I items, B rows, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models.lm.decode.trie import ROOT, Trie

FLOOR = 1e-20
"""Added to the assistant's probability under each token, as in D3's program."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guidance:
    """How steps are scored; without arguments by the model's log-probability alone.

    Attributes:
        factors: Factor from 0 to 1 on the log-probability of each node's token, shape (N,),
            float64.
        cumulative: The assistant's probabilities, summed over the leaves before each, shape
            (B, U + 1), float64.
        model_weight: Weight of the model in the mixture, from 0 to 1 (D3's alpha).
    """

    factors: Tensor | None = None
    cumulative: Tensor | None = None
    model_weight: float = 1.0

    def to(self, device: torch.device) -> Guidance:
        """Return the same on a device."""
        factors, cumulative = self.factors, self.cumulative
        return replace(
            self,
            factors=None if factors is None else factors.to(device),
            cumulative=None if cumulative is None else cumulative.to(device),
        )

    def steps(self, trie: Trie, rows_C: Tensor, nodes_C: Tensor, logps_C: Tensor) -> Tensor:
        """Score steps, shape (C,), float64, at most 0; impossible ones stay at -inf.

        Candidates continue the prompts `rows_C` and step to `nodes_C`, the root where there is
        none; `logps_C` are the model's log-probabilities of their tokens, over the whole
        vocabulary.
        """
        logps_C = logps_C.double()
        steps_C = logps_C if self.factors is None else self.factors[nodes_C] * logps_C
        if self.cumulative is not None:
            assistant_C = self._assistant_steps(self.cumulative, trie, rows_C, nodes_C)
            steps_C = self.model_weight * steps_C + (1 - self.model_weight) * assistant_C
        return torch.where(logps_C.isneginf(), logps_C, steps_C)

    def _assistant_steps(
        self, cumulative_BU1: Tensor, trie: Trie, rows_C: Tensor, nodes_C: Tensor
    ) -> Tensor:
        parents_C = trie.parents[nodes_C].clamp(min=ROOT)  # of the root: any, see `steps`
        first_C, end_C = trie.first_child[parents_C], trie.first_child[parents_C + 1]

        def probability(low_C: Tensor, high_C: Tensor) -> Tensor:
            return cumulative_BU1[rows_C, high_C] - cumulative_BU1[rows_C, low_C]

        node_C = probability(trie.low[nodes_C], trie.high[nodes_C]) + FLOOR
        # From the first child on: a response that ends at the parent is no child.
        siblings_C = probability(trie.low[first_C], trie.high[parents_C]) + FLOOR * (
            end_C - first_C
        )
        return (node_C.log() - siblings_C.log()).clamp(max=0)


def favor_information(scale_N: NDArray[np.float64], alpha: float) -> Guidance:
    """Favor tokens with a high information gain (IGD).

    `scale_N` are gains among siblings
    (`bench.models.lm.train.information_gain.scale_among_siblings`); `alpha` is the fraction of its
    log-probability that a token of the largest gain loses, 0 to 1.
    """
    return Guidance(factors=torch.from_numpy(1 - alpha * scale_N))


def mix_with_assistant(
    trie: Trie, probabilities_BI: NDArray[np.floating], model_weight: float
) -> Guidance:
    """Mix the model's log-probabilities with those of another recommender (D3).

    The trie is on the CPU. Sums over a subtree are exact to about 1e-16; an item far below that
    counts as 1e-20.
    """
    sorted_BI = probabilities_BI[:, trie.items.numpy()].astype(np.float64)
    cumulative_BI1 = np.pad(np.cumsum(sorted_BI, axis=1), ((0, 0), (1, 0)))
    cumulative_BU1 = torch.from_numpy(cumulative_BI1[:, trie.item_starts.numpy()])
    return Guidance(cumulative=cumulative_BU1, model_weight=model_weight)
