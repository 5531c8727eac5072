"""RosePO (Liao et al., arXiv 2410.12519): purposeful negatives and smoothed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.api import (
    BenchError,
    Data,
    GenerationConfig,
    GroundingConfig,
    Model,
    PairConfig,
    Pairs,
    Plain,
    Plan,
    Policy,
    PreferenceConfig,
    SASRecConfig,
    SFTConfig,
    generate,
    generate_and_ground,
    optimize_preferences,
    require_model,
    sample_pairs,
    sft,
    train_sasrec,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """RosePO: DPO with purposeful negatives and labels smoothed by an oracle (Liao et al., 2024).

    The published objective could not be read: smoothing is the cross-entropy with a soft label, the
    oracle SASRec's preference for the rejected item. `as_published` is the public code that comes
    closest to SPRec's tables: popular negatives, no smoothing.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "strategy": ["popular"],
        "smooth": False,
        "preference.beta": 0.3,
        "preference.learning_rate": 1e-6,
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "preference.beta": {"choice": [0.05, 0.1, 0.3, 1.0]},
        "preference.learning_rate": {"loguniform": [3e-6, 1e-4]},
    }

    sft: SFTConfig = SFTConfig()
    preference: PreferenceConfig = PreferenceConfig(loss="rosepo")
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    strategy: tuple[Literal["similar", "popular", "self"], ...] = ("similar",)
    """Rejected items: the unseen item most similar to the history's titles, an item drawn by
    its count in all training interactions, or what BIGRec's checkpoint itself generates; of
    several, one per row."""
    smooth: bool = True
    """Whether labels are smoothed."""
    oracle: SASRecConfig = SASRecConfig()
    """SASRec, whose scores smooth the labels."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """From BIGRec's checkpoint on, prefer each target to one purposeful item."""
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        pairs = self._sample_pairs(policy, data, seed)
        policy = optimize_preferences(policy, pairs, self.preference, seed=seed)
        ranking = generate_and_ground(policy, data, self.generation, self.grounding)
        return Plan(ranking=ranking)

    def _sample_pairs(self, policy: Policy, data: Data, seed: int) -> Pairs:
        kinds = sorted(set(self.strategy), key=("self", "similar", "popular").index)
        if not kinds:
            raise BenchError("rosepo has no strategy.", 'Set strategy = ["similar"].')
        generates = kinds[0] == "self"
        config = PairConfig(
            negatives="generated" if generates else kinds[0],
            combined_with=tuple(kinds[1:]),
            encoder="" if kinds == ["popular"] else self.grounding.encoder,
        )
        oracle = None
        if self.smooth:
            oracle = train_sasrec(data.train, data.valid, self.oracle, seed=seed)
        return sample_pairs(
            data.train,
            config,
            generated=generate(policy, data.train, self.generation) if generates else None,
            oracle=oracle,
            seed=seed,
        )
