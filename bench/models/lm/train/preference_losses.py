"""Losses on preference pairs: DPO, S-DPO, DMPO, RosePO, all with one signature.

Every loss sees the policy only through deltas: the log-probability of a response under the policy
minus that under the reference, both summed over the response's tokens, never averaged.

- DPO (Rafailov et al., NeurIPS 2023, Eq. 7): one rejected response.
- S-DPO (Chen et al., NeurIPS 2024): one chosen response against K rejected ones, Plackett-Luce.
- DMPO (Bai et al., CIKM 2024): DPO against the mean of K deltas. "dmpo-sum" has no 1/K, as public
  code has it; that is DMPO with K times the beta.
- RosePO (Liao et al., 2024): DPO with a label smoothing of its own for each pair, the probability
  that the rejected response is the better one. The published formula could not be read; this is
  conservative DPO with a smoothing by pair.

A method's own loss is a function of the same signature in its module:
`loss(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, **settings)`, returning (B,).

Shapes: B batch, K rejected responses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from bench.config import plugins
from bench.errors import BenchError, unknown
from bench.hashing import Plain

Loss: TypeAlias = Callable[..., Tensor]

SMOOTHED = ("rosepo",)
SINGLE = ("dpo", "rosepo")


def dpo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Compare with the only rejected response: -ln sigmoid(beta (chosen - rejected)).

    Args:
        chosen_B: Deltas of the chosen responses.
        rejected_BK: Deltas of the rejected responses; here K = 1.
        beta: Strength of the pull to the reference, above 0.
        smoothing_B: For RosePO alone; see `resolved`, which refuses others.
        mask_BK: Which rejected responses there are; every pair has one or more.

    Returns:
        One loss a pair, shape (B,); ln 2 where policy and reference agree.

    Example:
        >>> one = torch.tensor([0.5]), torch.tensor([[0.2]])
        >>> none = {"smoothing_B": torch.zeros(1), "mask_BK": torch.ones(1, 1, dtype=torch.bool)}
        >>> round(dpo(*one, beta=0.1, **none).item(), 6)
        0.67826
    """
    return -functional.logsigmoid(beta * (chosen_B - _only(rejected_BK)))


def sdpo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Put the chosen response first of all: ln(1 + sum_k exp(beta (rejected - chosen))).

    Written with a log-sum-exp, so that no exponential overflows. See `dpo` for the arguments;
    ln(1 + K) where policy and reference agree.
    """
    gaps_BK = beta * (rejected_BK - chosen_B[:, None])
    gaps_BK = gaps_BK.masked_fill(~mask_BK, -torch.inf)
    # logaddexp rather than softplus, which turns to the identity above 20.
    worst_B = torch.logsumexp(gaps_BK, dim=1)
    return torch.logaddexp(worst_B, torch.zeros_like(worst_B))


def dmpo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Compare with the mean of the rejected responses' deltas; see `dpo` for the arguments."""
    mean_B = rejected_BK.masked_fill(~mask_BK, 0).sum(1) / mask_BK.sum(1)
    return -functional.logsigmoid(beta * (chosen_B - mean_B))


def dmpo_sum(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Add up the gaps to all rejected responses; see `dpo` for the arguments."""
    gaps_BK = (chosen_B[:, None] - rejected_BK).masked_fill(~mask_BK, 0)
    return -functional.logsigmoid(beta * gaps_BK.sum(1))


def rosepo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Mix both directions of DPO by the probability that the rejected response is the better one.

    With the smoothing e and the margin m, the loss is -(1 - e) ln sigmoid(m) - e ln sigmoid(-m),
    least at sigmoid(m) = 1 - e. See `dpo` for the arguments; the smoothing carries no gradient.
    """
    margin_B = beta * (chosen_B - _only(rejected_BK))
    doubt_B = smoothing_B.detach()
    kept_B = (1 - doubt_B) * functional.logsigmoid(margin_B)
    return -kept_B - doubt_B * functional.logsigmoid(-margin_B)


LOSSES: Mapping[str, Loss] = {
    "dpo": dpo,
    "sdpo": sdpo,
    "dmpo": dmpo,
    "dmpo-sum": dmpo_sum,
    "rosepo": rosepo,
}


def resolved(
    name: str, settings: Mapping[str, Plain], *, num_rejected: int, smoothed: bool
) -> Loss:
    """Return a loss by name, ready for pairs of a kind.

    Args:
        name: One of `LOSSES`, or "module:function" of a method's own module.
        settings: Further keyword arguments of a method's own loss.
        num_rejected: Most rejected responses of a pair.
        smoothed: Whether any pair has a smoothing other than 0.

    Raises:
        BenchError: There is no such loss, or it could not use what it would be given.
    """
    if ":" in name:
        return partial(plugins.function(name), **settings)
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    if settings:
        raise BenchError(
            f"The loss {name} has no setting {next(iter(settings))!r}.", "Leave loss_settings out."
        )
    if num_rejected > 1 and name in SINGLE:
        raise BenchError(
            f"The loss {name} compares with one rejected response, not with {num_rejected}.",
            "Take sdpo or dmpo, or num = 1 for the pairs.",
        )
    if smoothed and name not in SMOOTHED:
        raise BenchError(
            f"The loss {name} knows no smoothing.", "Take rosepo, or pairs without `smooth`."
        )
    return LOSSES[name]


def _only(rejected_BK: Tensor) -> Tensor:
    assert rejected_BK.shape[1] == 1, "this loss compares with one rejected response"
    return rejected_BK[:, 0]
