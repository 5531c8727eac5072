"""S-DPO (Chen et al., NeurIPS 2024, arXiv 2406.09215): one target against several negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Grounded, Model, Plain, Plan, Preferring, pairs


@dataclass(frozen=True, kw_only=True)
class Method(Preferring, Grounded):
    """SDPO: a softmax over several random items is rejected (Chen et al., NeurIPS 2024).

    `as_published` is the authors' program: a stronger pull, a smaller rate, three passes. Its
    prompts list candidates, and those of next-title generation do not.

    Attributes:
        num_negatives: Random items a pair, other than target and history.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "beta": 1.0,
        "preference_learning_rate": 1e-5,
        "preference_epochs": 3,
        "preference_batch": 128,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.05, 0.1, 0.3, 1.0]},
        "preference_learning_rate": {"log_uniform": [3e-6, 1e-4]},
    }

    num_negatives: int = 3

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Prefer each target to random items, from BIGRec's checkpoint on."""
        rejected = pairs(data.train, negatives="random", num=self.num_negatives, seed=seed)
        policy = self.preferring(self.base(data, model, seed), rejected, loss="sdpo", seed=seed)
        return Plan(final=self.shown(policy, data))
