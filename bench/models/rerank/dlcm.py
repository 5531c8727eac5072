"""DLCM as in KAR: a recurrent network reads the list, and its last state scores every position.

Ai et al., "Learning a Deep Listwise Context Model for Ranking Refinement", SIGIR 2018. The paper
reads the list from the lowest rank up and trains by attention rank; KAR reads it in the given order
and trains pointwise.

Tensor names end in their shape: B batch, L list length, D feature width, H hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.rerank.losses import pointwise_loss

HIDDEN_SIZE = 64


class DLCM(nn.Module):
    """From features to scores in (0, 1)."""

    splits = False
    """Batch normalization needs the whole batch."""

    def __init__(self, width: int, hidden_size: int = HIDDEN_SIZE) -> None:
        super().__init__()
        self.reader = nn.GRU(width, hidden_size, batch_first=True)
        self.norm_last = nn.BatchNorm1d(hidden_size)
        self.norm_positions = nn.BatchNorm1d(hidden_size)
        self.context = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, 2)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        states_BLH, last_1BH = self.reader(features_BLD)
        context_BH = torch.tanh(self.context(self.norm_last(last_1BH[0])))
        normed_BLH = self.norm_positions(states_BLH.transpose(1, 2)).transpose(1, 2)
        logits_BL2 = self.output(context_BH[:, None] * normed_BLH)
        return torch.sigmoid(logits_BL2[..., 0] - logits_BL2[..., 1])

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise_loss(scores_BL, labels_BL)
