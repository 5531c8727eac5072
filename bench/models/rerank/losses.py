"""Losses of the re-rankers per list: pointwise, attention rank, softmax.

Attention rank is that of DLCM (Ai et al., SIGIR 2018) as in KAR's program; where all scores of a
list are 0 or less, it has no gradient.

Tensor names end in their shape: B batch, L list length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError

SMALLEST_SUM = 1e-20


def pointwise_loss(probabilities_BL: Tensor, targets_BL: Tensor) -> Tensor:
    """Binary cross-entropy averaged over each list, with logarithms of at least -100.

    Args:
        probabilities_BL: From 0 to 1.
        targets_BL: From 0 to 1.

    Returns:
        Loss per list, shape (B,).
    """
    losses_BL = functional.binary_cross_entropy(probabilities_BL, targets_BL, reduction="none")
    return losses_BL.mean(dim=1)


def attention_distribution(values_BL: Tensor, temperature: float) -> Tensor:
    """Distribute attention over a list's positive values: exp(value / temperature), normalized.

    Values of 0 or less get none; a list without a value above 0 gets none at all.
    """
    logits_BL = values_BL / temperature
    weights_BL = torch.where(logits_BL > 0, logits_BL.exp(), 0.0)
    return weights_BL / (weights_BL.sum(dim=1, keepdim=True) + SMALLEST_SUM)


def attention_rank_loss(
    scores_BL: Tensor, labels_BL: Tensor, *, temperature: float, max_logit: float | None = None
) -> Tensor:
    """Pointwise loss between the attention distributions of scores and labels.

    Args:
        scores_BL: Any real numbers.
        labels_BL: 0 or 1.
        temperature: Above 0.
        max_logit: Where scores divided by the temperature are clipped; None lets them overflow.

    Returns:
        Loss per list, shape (B,).

    Raises:
        BenchError: A score overflowed.
    """
    if max_logit is not None:
        scores_BL = scores_BL.clamp(max=max_logit * temperature)
    predicted_BL = attention_distribution(scores_BL, temperature)
    if predicted_BL.isnan().any():
        raise BenchError(
            "SetRank's scores overflow its loss.",
            "Lower the learning rate, or set setrank_loss to kar_offset.",
        )
    return pointwise_loss(predicted_BL, attention_distribution(labels_BL, temperature))


def softmax_loss(scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Cross-entropy between a list's softmax and its positives with equal weights; 0 without any.

    Returns:
        Loss per list, shape (B,).
    """
    weights_BL = labels_BL / labels_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return -(weights_BL * functional.log_softmax(scores_BL, dim=1)).sum(dim=1)
