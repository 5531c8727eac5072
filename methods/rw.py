"""RW (IFairLRS; Jiang et al., WWW 2024, arXiv 2402.15215): rows weighted by category."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from bench.api import (
    Data,
    GenerationConfig,
    GroundingConfig,
    Model,
    Plain,
    Plan,
    SFTConfig,
    generate_and_ground,
    require_model,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """RW: BIGRec with rows that weigh more if their target's category is rare (Jiang et al., 2024).

    `as_published` is what the authors' program computes: it scales micro-batches and weights the
    rows of one alike.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "mean_over": "micro-batch",
        "sft.completion_only_loss": False,
        "sft.group_by_length": False,
    }
    SPACE: ClassVar[dict[str, Plain]] = {"sft.learning_rate": {"loguniform": [1e-4, 3e-3]}}

    sft: SFTConfig = SFTConfig()
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    mean_over: Literal["rows", "micro-batch"] = "rows"
    """"rows" weights rows; "micro-batch" is the program's arithmetic."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted rows, generate, ground."""
        weighted = replace(
            self.sft,
            weighting="bench.data.reweighting:weight_by_category",
            mean_over=self.mean_over,
        )
        policy = sft(require_model(model), data.train, weighted, seed=seed, valid=data.valid)
        ranking = generate_and_ground(policy, data, self.generation, self.grounding)
        return Plan(ranking=ranking)
