"""PRM as KAR has it: one layer of self-attention over features with fixed position codes.

Pei et al., "Personalized Re-ranking for Recommendation", RecSys 2019, without its residual
connections, feed-forward blocks and pre-trained user vector, none of which KAR's program has.

Tensor names end in their shape: B batch, L list length, D width of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.rerank.layers import head
from bench.models.rerank.losses import pointwise

HEADS = 2
LENGTH = 10
LONGEST_WAVE = 10_000.0


class PRM(nn.Module):
    """From features to scores in (0, 1).

    Args:
        width: Of the features of one place; even.
        length: Places of a list.
    """

    splits = True
    codes: Tensor

    def __init__(self, width: int, length: int = LENGTH) -> None:
        super().__init__()
        self.register_buffer("codes", positions(length, width), persistent=False)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.head = head(2 * width)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every place, shape (B, L)."""
        placed_BLD = features_BLD + self.codes
        mixed_BLD, _ = self.attention(placed_BLD, placed_BLD, placed_BLD, need_weights=False)
        logits_BL = self.head(torch.cat((mixed_BLD, placed_BLD), dim=-1)).squeeze(-1)
        return torch.sigmoid(logits_BL)

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise(scores_BL, labels_BL)


def positions(length: int, width: int) -> Tensor:
    """Return sines in even columns and cosines in odd ones; the first row is all 0, as in KAR.

    Returns:
        Shape (length, width).
    """
    column_D = torch.arange(width)
    place_L1 = torch.arange(length, dtype=torch.float64)[:, None]
    angle_LD = place_L1 / LONGEST_WAVE ** (2 * (column_D // 2) / width)
    table_LD = torch.where(column_D % 2 == 0, angle_LD.sin(), angle_LD.cos())
    table_LD[0] = 0.0
    return table_LD.to(torch.float32)
