"""DMPO (Bai et al., CIKM 2024, arXiv 2405.16127): the mean of several negatives is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Grounded, Model, Plain, Plan, Preferring, pairs


@dataclass(frozen=True, kw_only=True)
class Method(Preferring, Grounded):
    """DMPO: DPO whose rejected term is the mean over several random items (Bai et al., CIKM 2024).

    `as_published` sums instead, at a rate and a pull of its own, as the peer code does that comes
    closest to SPRec's tables; their own settings are not known.

    Attributes:
        num_negatives: Random items a pair, other than target and history.
        summed: Whether the rejected term is a sum.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "summed": True,
        "beta": 0.3,
        "preference_learning_rate": 1e-6,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.05, 0.1, 0.3, 1.0]},
        "preference_learning_rate": {"log_uniform": [3e-6, 1e-4]},
    }

    num_negatives: int = 3
    summed: bool = False

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Prefer each target to the mean of random items, from BIGRec's checkpoint on."""
        rejected = pairs(data.train, negatives="random", num=self.num_negatives, seed=seed)
        loss = "dmpo-sum" if self.summed else "dmpo"
        policy = self.preferring(self.base(data, model, seed), rejected, loss=loss, seed=seed)
        return Plan(final=self.shown(policy, data))
