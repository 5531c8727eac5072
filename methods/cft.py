"""CFT (Zhang et al., arXiv 2410.22809): learn the causal effect of the history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.api import (
    Data,
    DecodingConfig,
    Model,
    NonNegativeFloat,
    Plain,
    Plan,
    SFTConfig,
    beam_search_rank,
    require_model,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """CFT: position weights, and a loss on the logits minus those without history (Zhang, 2024)."""

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "effect": 0.1,
        "beta": 0.25,
        "decoding.length_penalty": 1.0,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "effect": {"choice": [0.01, 0.02, 0.025, 0.05, 0.1, 0.2, 0.3]},
        "beta": {"choice": [0.09, 0.16, 0.29, 0.38, 0.5, 0.66, 0.9, 0.96]},
    }

    sft: SFTConfig = SFTConfig()
    decoding: DecodingConfig = DecodingConfig()
    effect: NonNegativeFloat = 0.1
    """Weight of the second loss; with 0 the method is `pos`."""
    beta: NonNegativeFloat = 0.5
    """Weight of a title's last token, relative to the first one's."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune with and without history, then decode titles of the catalog only."""
        weighted = replace(
            self.sft,
            weighting="bench.models.lm.train.token_loss:by_position",
            weighting_arguments={"beta": self.beta},
            counterfactual_weight=self.effect,
        )
        policy = sft(require_model(model), data.train, weighted, seed=seed, valid=data.valid)
        return Plan(ranking=beam_search_rank(policy, data.test, data.train, self.decoding))
