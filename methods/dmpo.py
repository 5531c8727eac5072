"""DMPO (Bai et al., CIKM 2024, arXiv 2405.16127): DPO against the mean of several negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    Data,
    GenerationConfig,
    GroundingConfig,
    Model,
    PairConfig,
    Plain,
    Plan,
    PositiveInt,
    PreferenceConfig,
    SFTConfig,
    generate_and_ground,
    optimize_preferences,
    require_model,
    sample_pairs,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """DMPO: DPO whose rejected term is the mean over several random items (Bai et al., CIKM 2024).

    `as_published` sums instead (`preference.loss` = "dmpo-sum"), with a learning rate and a beta
    of the public code that comes closest to SPRec's tables; the authors' own settings are unknown.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "preference.loss": "dmpo-sum",
        "preference.beta": 0.3,
        "preference.learning_rate": 1e-6,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "preference.beta": {"choice": [0.05, 0.1, 0.3, 1.0]},
        "preference.learning_rate": {"loguniform": [3e-6, 1e-4]},
    }

    sft: SFTConfig = SFTConfig()
    preference: PreferenceConfig = PreferenceConfig(loss="dmpo")
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    num_negatives: PositiveInt = 3
    """Random items per pair, other than the target and the history."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """From BIGRec's checkpoint on, prefer each target to the mean of random items."""
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        negatives = PairConfig(negatives="random", num_negatives=self.num_negatives)
        pairs = sample_pairs(data.train, negatives, seed=seed)
        policy = optimize_preferences(policy, pairs, self.preference, seed=seed)
        ranking = generate_and_ground(policy, data, self.generation, self.grounding)
        return Plan(ranking=ranking)
