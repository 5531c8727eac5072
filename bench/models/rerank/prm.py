"""PRM as in KAR: one layer of self-attention over features with fixed position encodings.

Pei et al., "Personalized Re-ranking for Recommendation", RecSys 2019, without its residual
connections, feed-forward blocks and pre-trained user vector, none of which KAR's program has.

Tensor names end in their shape: B batch, L list length, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.models.rerank.layers import AttentionScorer
from bench.models.rerank.losses import pointwise_loss

LENGTH = 10
LONGEST_WAVE = 10_000.0


class PRM(AttentionScorer):
    """From features to scores in (0, 1)."""

    encodings: Tensor

    def __init__(self, width: int, length: int = LENGTH) -> None:
        super().__init__(width)
        self.register_buffer("encodings", position_encodings(length, width), persistent=False)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        return torch.sigmoid(self.logits(features_BLD + self.encodings))

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise_loss(scores_BL, labels_BL)


def position_encodings(length: int, width: int) -> Tensor:
    """Return sines in even columns and cosines in odd ones; the first row is 0, as in KAR.

    Returns:
        Shape (length, width), float32.
    """
    column_D = torch.arange(width)
    position_L1 = torch.arange(length, dtype=torch.float64)[:, None]
    angle_LD = position_L1 / LONGEST_WAVE ** (2 * (column_D // 2) / width)
    table_LD = torch.where(column_D % 2 == 0, angle_LD.sin(), angle_LD.cos())
    table_LD[0] = 0.0
    return table_LD.to(torch.float32)
