"""S-DPO (Chen et al., NeurIPS 2024, arXiv 2406.09215): one target against several negatives."""

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
    """S-DPO: DPO with a softmax over several random rejected items (Chen et al., NeurIPS 2024).

    `as_published` is the authors' program: a higher beta, a lower learning rate, three epochs. Its
    prompts list candidates, and those of next-title generation do not.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "preference.beta": 1.0,
        "preference.learning_rate": 1e-5,
        "preference.num_train_epochs": 3,
        "preference.batch_size": 128,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "preference.beta": {"choice": [0.05, 0.1, 0.3, 1.0]},
        "preference.learning_rate": {"loguniform": [3e-6, 1e-4]},
    }

    sft: SFTConfig = SFTConfig()
    preference: PreferenceConfig = PreferenceConfig(loss="sdpo")
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    num_negatives: PositiveInt = 3
    """Random items per pair, other than the target and the history."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """From BIGRec's checkpoint on, prefer each target to random items."""
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        negatives = PairConfig(negatives="random", num_negatives=self.num_negatives)
        pairs = sample_pairs(data.train, negatives, seed=seed)
        policy = optimize_preferences(policy, pairs, self.preference, seed=seed)
        ranking = generate_and_ground(policy, data, self.generation, self.grounding)
        return Plan(ranking=ranking)
