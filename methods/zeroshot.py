"""Zero-shot: the untuned language model generates a title; the floor for all tuned ones."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import (
    Data,
    GenerationConfig,
    GroundingConfig,
    Model,
    Plan,
    generate_and_ground,
    require_model,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """Zero-shot: the untuned language model generates a title, which is grounded in the catalog."""

    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Generate and ground; nothing is sampled, so all seeds share one ranking."""
        ranking = generate_and_ground(require_model(model), data, self.generation, self.grounding)
        return Plan(ranking=ranking)
