"""Losses of the re-rankers, list by list: pointwise, by attention rank, by softmax.

Attention rank is DLCM's (Ai et al., SIGIR 2018) as KAR's program has it; its dead zone, where all
scores of a list are 0 or less, gives no gradient at all.

Tensor names end in their shape: B batch, L list length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError

SMALLEST_SUM = 1e-20


def pointwise(probabilities_BL: Tensor, wanted_BL: Tensor) -> Tensor:
    """Binary cross-entropy, logarithms no lower than -100, averaged over each list's places.

    Args:
        probabilities_BL: From 0 to 1.
        wanted_BL: From 0 to 1.

    Returns:
        One loss a list, shape (B,); their mean is that over all places.
    """
    losses_BL = functional.binary_cross_entropy(probabilities_BL, wanted_BL, reduction="none")
    return losses_BL.mean(dim=1)


def attention(values_BL: Tensor, temperature: float) -> Tensor:
    """Share a list's attention among its positive values: exp(value / temperature), normalized.

    Values of 0 and less get nothing; where no value is above 0, nobody does.
    """
    scaled_BL = values_BL / temperature
    weights_BL = torch.where(scaled_BL > 0, scaled_BL.exp(), 0.0)
    return weights_BL / (weights_BL.sum(dim=1, keepdim=True) + SMALLEST_SUM)


def attention_rank(
    scores_BL: Tensor, labels_BL: Tensor, *, temperature: float, highest: float | None = None
) -> Tensor:
    """Pointwise loss between the attention that scores and labels give.

    Args:
        scores_BL: Any real numbers.
        labels_BL: 0 or 1.
        temperature: Above 0.
        highest: Where scores divided by the temperature are cut off; None lets them overflow.

    Returns:
        One loss a list, shape (B,).

    Raises:
        BenchError: A score overflowed.
    """
    if highest is not None:
        scores_BL = scores_BL.clamp(max=highest * temperature)
    given_BL = attention(scores_BL, temperature)
    if given_BL.isnan().any():
        raise BenchError(
            "SetRank's scores grew beyond what its loss can hold.",
            "Lower the learning rate, or take the loss 'kar_offset'.",
        )
    return pointwise(given_BL, attention(labels_BL, temperature))


def softmax(scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Cross-entropy of the softmax over a list with its positives, which share 1; else 0.

    Returns:
        One loss a list, shape (B,).
    """
    shares_BL = labels_BL / labels_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return -(shares_BL * functional.log_softmax(scores_BL, dim=1)).sum(dim=1)
