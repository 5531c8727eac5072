"""Losses of the re-rankers per list: pointwise, attention rank, softmax.

Attention rank is that of DLCM (Ai et al., SIGIR 2018) as in KAR's program; a list with fewer than
two scores above 0 has no gradient.

Tensor names end in their shape: B batch, L list length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError

MIN_LOG = -100.0
"""Smallest logarithm in a cross-entropy, as in `torch.nn.functional.binary_cross_entropy`."""
NO_ATTENTION = -1e4
"""Logit of a position without attention; its exponential is exactly 0."""


def pointwise_loss(probabilities_BL: Tensor, targets_BL: Tensor) -> Tensor:
    """Binary cross-entropy averaged over each list, (B,), with logarithms of at least -100."""
    losses_BL = functional.binary_cross_entropy(probabilities_BL, targets_BL, reduction="none")
    return losses_BL.mean(dim=1)


def attention_distribution(values_BL: Tensor, temperature: float) -> Tensor:
    """Distribute attention over a list's positive values: exp(value / temperature), normalized.

    Values of 0 or less get none; a list without a value above 0 gets none at all.
    """
    attended_BL = values_BL > 0
    logits_BL = (values_BL / temperature).masked_fill(~attended_BL, NO_ATTENTION)
    return functional.softmax(logits_BL, dim=1) * attended_BL


def attention_rank_loss(
    scores_BL: Tensor, labels_BL: Tensor, *, temperature: float, max_logit: float | None = None
) -> Tensor:
    """Binary cross-entropy between the attention distributions of scores and labels, shape (B,).

    The logarithms of p and of 1 - p come from log-sum-exps, because in float32 p rounds to 1 where
    one score is far above the others or is the only one above 0. From the rounded p, the gradient
    of the cross-entropy is (p - q) / 1e-12 times the rounding error of dp/dscore: up to 2e4 where
    the exact gradient is 0. Which error results depends on the processor's instructions, so
    training with `kar_offset` learned on some processors and drifted on others.

    Scores divided by the temperature are clipped at `max_logit`; without it they may overflow.

    Returns:
        Loss per list, shape (B,).

    Raises:
        BenchError: The sum of a list's exp(score / temperature) overflows.
    """
    if max_logit is not None:
        scores_BL = scores_BL.clamp(max=max_logit * temperature)
    attended_BL = scores_BL > 0
    logits_BL = (scores_BL / temperature).masked_fill(~attended_BL, NO_ATTENTION)
    # Clipped scores cannot overflow, and to look at them is to wait for the device.
    if max_logit is None and not logits_BL.exp().sum(dim=1).isfinite().all():
        raise BenchError(
            "SetRank's scores overflow its loss.",
            "Lower the learning rate, or set setrank_loss to kar_offset.",
        )
    log_p_BL = functional.log_softmax(logits_BL, dim=1)
    own_LL = torch.eye(scores_BL.shape[1], dtype=torch.bool, device=scores_BL.device)
    others_BLL = logits_BL[:, None, :].masked_fill(own_LL, NO_ATTENTION)
    log_rest_BL = others_BLL.logsumexp(dim=2) - logits_BL.logsumexp(dim=1, keepdim=True)
    targets_BL = attention_distribution(labels_BL, temperature)
    losses_BL = torch.where(
        attended_BL,
        -targets_BL * log_p_BL - (1 - targets_BL) * log_rest_BL.clamp(min=MIN_LOG),
        -targets_BL * MIN_LOG,
    )
    return losses_BL.mean(dim=1)


def softmax_loss(scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Cross-entropy between a list's softmax and its equally weighted positives; 0 without any."""
    weights_BL = labels_BL / labels_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return -(weights_BL * functional.log_softmax(scores_BL, dim=1)).sum(dim=1)
