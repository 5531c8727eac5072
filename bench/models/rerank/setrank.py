"""SetRank as in KAR: one layer of self-attention without positions, so order has no effect.

Pang et al., "SetRank: Learning a Permutation-Invariant Ranking Model for Information Retrieval",
SIGIR 2020, which stacks blocks and trains by softmax. KAR trains by attention rank, which gives no
gradient for lists with fewer than two scores above 0: "kar" is exactly that, "kar_offset" starts
all scores near 1 and clips them before they overflow, "softmax" is the paper's own loss.

Tensor names end in their shape: B batch, L list length, D feature width.
"""

from __future__ import annotations

from torch import Tensor, nn

from bench.models.rerank.layers import AttentionScorer
from bench.models.rerank.losses import attention_rank_loss, softmax_loss
from bench.plan.rerank_stages import SetRankLoss

OFFSET = 1.0
MAX_LOGIT = 60.0


class SetRank(AttentionScorer):
    """From features to real-valued scores; the softmax loss has no temperature."""

    def __init__(self, width: int, *, loss: SetRankLoss, temperature: float) -> None:
        super().__init__(width)
        self.loss = loss
        self.temperature = temperature

    def set_offset(self) -> None:
        """Raise the last bias if the loss needs it; call it after the weights are initialized."""
        if self.loss == "kar_offset":
            last = self.head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, OFFSET)

    def forward(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every position, shape (B, L)."""
        return self.logits(features_BLD)

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the loss of each list, shape (B,)."""
        if self.loss == "softmax":
            return softmax_loss(scores_BL, labels_BL)
        max_logit = MAX_LOGIT if self.loss == "kar_offset" else None
        return attention_rank_loss(
            scores_BL, labels_BL, temperature=self.temperature, max_logit=max_logit
        )


def have_zero_gradient(scores_BL: Tensor) -> Tensor:
    """Tell which lists have no gradient under attention rank: fewer than two scores above 0."""
    return (scores_BL > 0).sum(dim=1) < 2
