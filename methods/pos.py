"""Pos: position weighting, the smaller part of CFT (Zhang et al., arXiv 2410.22809)."""

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
    """Pos: earlier tokens of a title weigh more in training (Zhang et al., arXiv 2410.22809)."""

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"beta": 0.25}
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choice": [0.09, 0.16, 0.29, 0.38, 0.5, 0.66, 0.9, 0.96]}
    }

    sft: SFTConfig = SFTConfig()
    decoding: DecodingConfig = DecodingConfig()
    beta: NonNegativeFloat = 0.5
    """Weight of a title's last token, relative to the first one's; 1 weights all alike."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted tokens, then decode titles of the catalog only."""
        weighted = replace(
            self.sft,
            weighting="bench.models.lm.train.token_loss:by_position",
            weighting_arguments={"beta": self.beta},
        )
        policy = sft(require_model(model), data.train, weighted, seed=seed, valid=data.valid)
        return Plan(ranking=beam_search_rank(policy, data.test, data.train, self.decoding))
