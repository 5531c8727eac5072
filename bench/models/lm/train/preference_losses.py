"""Losses on preference pairs: DPO, S-DPO, DMPO, RosePO, all with one signature.

Every loss takes deltas: the log-probability of a response under the policy minus that under the
reference, both summed over the response's tokens, never averaged. The arguments are

    chosen_B     deltas of the chosen responses
    rejected_BK  deltas of the rejected responses
    beta         strength of the pull to the reference, above 0
    smoothing_B  for RosePO only: probability that the rejected response is the better one
    mask_BK      which rejected responses there are; every pair has one or more

and the result is one loss per pair, shape (B,). A method's own loss is a function of the same
signature in its module: `loss(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, **settings)`.
If it also names them, it gets, with the chosen response first and 0 where there is no response,

    logps_BA     log-probabilities under the policy alone, with gradients (SimPO, CPO, ORPO)
    lengths_BA   numbers of tokens, for means over tokens

Shapes: B batch, K rejected responses, A = 1 + K responses.
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
    """Return -ln sigmoid(beta (chosen - rejected)); K = 1.

    Rafailov et al., NeurIPS 2023, Eq. 7. It is ln 2 where policy and reference agree.

    Example:
        >>> deltas = torch.tensor([0.5]), torch.tensor([[0.2]])
        >>> rest = {"smoothing_B": torch.zeros(1), "mask_BK": torch.ones(1, 1, dtype=torch.bool)}
        >>> round(dpo(*deltas, beta=0.1, **rest).item(), 6)
        0.67826
    """
    return -functional.logsigmoid(beta * (chosen_B - _single(rejected_BK)))


def sdpo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Return ln(1 + sum_k exp(beta (rejected - chosen))), Plackett-Luce with the chosen one first.

    S-DPO (Chen et al., NeurIPS 2024). It is ln(1 + K) where policy and reference agree.
    """
    gaps_BK = beta * (rejected_BK - chosen_B[:, None])
    gaps_BK = gaps_BK.masked_fill(~mask_BK, -torch.inf)
    # logaddexp: no exponential overflows, and softplus would be the identity above 20.
    total_B = torch.logsumexp(gaps_BK, dim=1)
    return torch.logaddexp(total_B, torch.zeros_like(total_B))


def dmpo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Return DPO's loss against the mean of the rejected deltas (Bai et al., CIKM 2024)."""
    mean_B = rejected_BK.masked_fill(~mask_BK, 0).sum(1) / mask_BK.sum(1)
    return -functional.logsigmoid(beta * (chosen_B - mean_B))


def dmpo_sum(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Return DMPO's loss without 1/K, as in public code: that is K times the beta."""
    gaps_BK = (chosen_B[:, None] - rejected_BK).masked_fill(~mask_BK, 0)
    return -functional.logsigmoid(beta * gaps_BK.sum(1))


def rosepo(
    chosen_B: Tensor, rejected_BK: Tensor, *, beta: float, smoothing_B: Tensor, mask_BK: Tensor
) -> Tensor:
    """Return -(1 - e) ln sigmoid(m) - e ln sigmoid(-m), with DPO's margin m and the smoothing e.

    RosePO (Liao et al., 2024). The published formula could not be read; this is conservative DPO
    with a smoothing per pair, which carries no gradient. It is least at sigmoid(m) = 1 - e.
    """
    margin_B = beta * (chosen_B - _single(rejected_BK))
    smoothing_B = smoothing_B.detach()
    chosen_term_B = (1 - smoothing_B) * functional.logsigmoid(margin_B)
    return -chosen_term_B - smoothing_B * functional.logsigmoid(-margin_B)


LOSSES: Mapping[str, Loss] = {
    "dpo": dpo,
    "sdpo": sdpo,
    "dmpo": dmpo,
    "dmpo-sum": dmpo_sum,
    "rosepo": rosepo,
}


def resolve_loss(
    name: str, settings: Mapping[str, Plain], *, num_rejected: int, smoothed: bool
) -> Loss:
    """Return a loss by name, checked against the pairs.

    The name is one of `LOSSES`, or "module:function" of a method's own module, which takes the
    settings as further keyword arguments.

    Raises:
        BenchError: There is no such loss, or it cannot use the settings or the pairs.
    """
    if ":" in name:
        return partial(plugins.function(name), **settings)
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    if settings:
        raise BenchError(
            f"The loss {name} has no argument {next(iter(settings))!r}.", "Leave it out."
        )
    if num_rejected > 1 and name in SINGLE:
        raise BenchError(
            f"The loss {name} compares with one rejected response, not with {num_rejected}.",
            "Use sdpo or dmpo, or one negative per pair.",
        )
    if smoothed and name not in SMOOTHED:
        raise BenchError(
            f"The loss {name} takes no label smoothing.", "Use rosepo, or pairs without smoothing."
        )
    return LOSSES[name]


def _single(rejected_BK: Tensor) -> Tensor:
    assert rejected_BK.shape[1] == 1, "this loss compares with one rejected response"
    return rejected_BK[:, 0]
