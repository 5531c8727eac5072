"""Pos: position weighting, the lesser part of CFT (Zhang et al., arXiv 2410.22809)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Constrained, Data, FineTuned, Model, Plain, Plan


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Constrained):
    """Pos: earlier tokens of a title count more in training (Zhang et al., arXiv 2410.22809).

    Attributes:
        beta: Weight of a title's last token, the first one's being 1; 1 weighs all alike.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"beta": 0.25}
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.09, 0.16, 0.29, 0.38, 0.5, 0.66, 0.9, 0.96]}
    }

    beta: float = 0.5

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted tokens, then decode inside the catalog."""
        policy = self.base(
            data,
            model,
            seed,
            weights="bench.models.lm.train.token_loss:by_position",
            weight_settings={"beta": self.beta},
        )
        return Plan(final=self.decoded(policy, data, eos=self.eos))
