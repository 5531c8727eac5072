"""SetRank as KAR has it: one layer of self-attention without positions, so order plays no part.

Pang et al., "SetRank: Learning a Permutation-Invariant Ranking Model for Information Retrieval",
SIGIR 2020, which stacks blocks and trains by softmax. KAR trains by attention rank, whose dead zone
silences any list with all scores at 0 or less: "kar" is that to the letter, "kar_offset" starts all
scores near 1 and cuts them off before they overflow, "softmax" is the paper's own loss.

Tensor names end in their shape: B batch, L list length, D width of the features.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from bench.errors import unknown
from bench.models.rerank.layers import head
from bench.models.rerank.losses import attention_rank, softmax

Loss = Literal["kar", "kar_offset", "softmax"]
HEADS = 2
TEMPERATURE = 0.5
OFFSET = 1.0
HIGHEST = 60.0


class SetRank(nn.Module):
    """From features to real-valued scores.

    Args:
        width: Of the features of one place; even.
        loss: What it is trained by.
        temperature: Of the attention rank; the softmax has none.

    Raises:
        BenchError: There is no such loss.
    """

    splits = True

    def __init__(
        self, width: int, *, loss: str = "kar_offset", temperature: float = TEMPERATURE
    ) -> None:
        super().__init__()
        if loss not in get_args(Loss):
            raise unknown("loss of SetRank", loss, get_args(Loss))
        self.loss = loss
        self.temperature = temperature
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.head = head(2 * width)

    def set_offset(self) -> None:
        """Lift the last bias, where the loss asks for it; to be called after first weights."""
        if self.loss == "kar_offset":
            last = self.head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, OFFSET)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every place, shape (B, L)."""
        mixed_BLD, _ = self.attention(features_BLD, features_BLD, features_BLD, need_weights=False)
        scores_BL: Tensor = self.head(torch.cat((mixed_BLD, features_BLD), dim=-1)).squeeze(-1)
        return scores_BL

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the loss of each list, shape (B,)."""
        if self.loss == "softmax":
            return softmax(scores_BL, labels_BL)
        highest = HIGHEST if self.loss == "kar_offset" else None
        return attention_rank(scores_BL, labels_BL, temperature=self.temperature, highest=highest)


def silent(scores_BL: Tensor) -> Tensor:
    """Tell which lists give attention rank no gradient: those without a score above 0."""
    return (scores_BL <= 0).all(dim=1)
