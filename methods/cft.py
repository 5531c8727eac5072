"""CFT (Zhang et al., arXiv 2410.22809): fit what the history itself brings about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Constrained, Data, FineTuned, Model, Plain, Plan


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Constrained):
    """CFT: position weights, and a loss on the logits minus those without history (Zhang, 2024).

    Attributes:
        effect: Weight of the second loss; 0 leaves `pos`.
        beta: Weight of a title's last token, the first one's being 1.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"effect": 0.1, "beta": 0.25, "length_penalty": 1.0}
    SPACE: ClassVar[dict[str, Plain]] = {
        "effect": {"choices": [0.01, 0.02, 0.025, 0.05, 0.1, 0.2, 0.3]},
        "beta": {"choices": [0.09, 0.16, 0.29, 0.38, 0.5, 0.66, 0.9, 0.96]},
    }

    effect: float = 0.1
    beta: float = 0.5

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune with and without history, then decode inside the catalog."""
        policy = self.base(
            data,
            model,
            seed,
            weights="bench.models.lm.train.token_loss:by_position",
            weight_settings={"beta": self.beta},
            counterfactual=self.effect,
        )
        return Plan(final=self.decoded(policy, data, eos=self.eos))
