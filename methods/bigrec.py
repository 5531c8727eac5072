"""BIGRec (Bao et al., 2023, arXiv 2308.08434): generate the next title, then ground it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.api import (
    BenchError,
    Data,
    DecodingConfig,
    GenerationConfig,
    GroundingConfig,
    Model,
    Plain,
    Plan,
    SFTConfig,
    beam_search_rank,
    generate_and_ground,
    require_model,
    sft,
    train_sasrec,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """BIGRec: a language model fine-tuned to generate the next title (Bao et al., 2308.08434).

    As SPRec runs it: greedy decoding, grounding by a sentence encoder. `as_published` has the loss
    on the prompt as well and no end-of-sequence token, as SPRec's program. BIGRec's own program
    grounds by the backbone (`grounding.encoder` = "backbone") and may prefer popular items
    (`grounding.gamma`). In the IGD paper the name stands for constrained beam search with length
    normalization.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "sft.completion_only_loss": False,
        "sft.group_by_length": False,
        "sft.append_eos": False,
    }
    SPACE: ClassVar[dict[str, Plain]] = {"sft.learning_rate": {"loguniform": [1e-4, 3e-3]}}

    sft: SFTConfig = SFTConfig()
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    decoding: DecodingConfig = DecodingConfig(length_penalty=1.0)
    constrained: bool = False
    """Decode titles of the catalog only (`decoding`) instead of generating and grounding."""
    preferred_by: Literal["popularity", "sasrec"] = "popularity"
    """What `grounding.gamma` prefers: frequent training targets, or SASRec's scores."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune, generate, ground."""
        if self.constrained and self.grounding.gamma:
            raise BenchError(
                "bigrec: constrained decoding grounds nothing that gamma could act on.",
                "Leave out gamma, or set constrained = false.",
            )
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        if self.constrained:
            return Plan(ranking=beam_search_rank(policy, data.test, data.train, self.decoding))
        by_sasrec = self.preferred_by == "sasrec"
        oracle = train_sasrec(data.train, data.valid, seed=seed) if by_sasrec else None
        train = None if by_sasrec else data.train
        ranking = generate_and_ground(
            policy, data, self.generation, self.grounding, train=train, oracle=oracle
        )
        return Plan(ranking=ranking)
