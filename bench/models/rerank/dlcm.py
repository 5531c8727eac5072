"""DLCM as KAR has it: a recurrent network reads the list, its last state judges every place.

Ai et al., "Learning a Deep Listwise Context Model for Ranking Refinement", SIGIR 2018. There the
list is read from its lowest place up and trained by attention rank; KAR reads it as given and
trains pointwise.

Tensor names end in their shape: B batch, L list length, D width of the features, H hidden width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.rerank.losses import pointwise

HIDDEN = 64


class DLCM(nn.Module):
    """From features to scores in (0, 1).

    Args:
        width: Of the features of one place.
        hidden: Of the recurrent state.
    """

    # Batch normalization looks at a batch as a whole.
    splits = False

    def __init__(self, width: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.reader = nn.GRU(width, hidden, batch_first=True)
        self.norm_last = nn.BatchNorm1d(hidden)
        self.norm_places = nn.BatchNorm1d(hidden)
        self.context = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 2)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every place, shape (B, L)."""
        logits_BL2 = self.logits(features_BLD)
        return torch.sigmoid(logits_BL2[..., 0] - logits_BL2[..., 1])

    def logits(self, features_BLD: Tensor) -> Tensor:
        """Return both logits of every place; only their difference counts, shape (B, L, 2)."""
        states_BLH, last_1BH = self.reader(features_BLD)
        context_BH = torch.tanh(self.context(self.norm_last(last_1BH[0])))
        normed_BLH = self.norm_places(states_BLH.transpose(1, 2)).transpose(1, 2)
        logits_BL2: Tensor = self.output(context_BH[:, None] * normed_BLH)
        return logits_BL2

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the pointwise loss of each list, shape (B,)."""
        return pointwise(scores_BL, labels_BL)
