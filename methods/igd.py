"""IGD (Lin et al., NeurIPS 2025, arXiv 2506.13229): tokens weighted by information gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from bench.api import (
    Data,
    DecodingConfig,
    Fraction,
    Model,
    Plain,
    Plan,
    SFTConfig,
    beam_search_rank,
    require_model,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """IGD: tokens without information gain weigh less in training and decoding (Lin et al., 2025).

    `decoding.length_penalty` = 1 applies it to what the paper calls BIGRec, 0 to D3. Ablations:
    `beta` = 1 trains as BIGRec does, `alpha` = 0 decodes as the base method does.
    """

    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choice": [0.08, 0.1, 0.2, 0.4, 0.5, 0.6]},
        "alpha": {"choice": [0.0, 0.1, 0.2, 0.3, 0.4]},
    }

    sft: SFTConfig = SFTConfig()
    decoding: DecodingConfig = DecodingConfig()
    beta: Fraction = 0.1
    """Weight in training of a token without information gain."""
    alpha: Fraction = 0.2
    """How much tokens with a high information gain are favored in decoding."""
    entropy: Literal["partial", "conditional"] = "partial"
    """Entropy of the information gain: as in the program, or conditional on the prefix."""
    prior: Literal["popularity", "uniform"] = "popularity"
    """Probabilities of the titles: of the training targets, or uniform."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted tokens, then decode with weights."""
        config = self.sft
        if self.beta != 1:
            config = replace(
                config,
                weighting="bench.models.lm.train.information_gain:igd_weights",
                weighting_arguments={"beta": self.beta},
            )
        policy = sft(require_model(model), data.train, config, seed=seed, valid=data.valid)
        decoding = replace(
            self.decoding, igd_alpha=self.alpha, entropy=self.entropy, prior=self.prior
        )
        return Plan(ranking=beam_search_rank(policy, data.test, data.train, decoding))
