"""Zero-shot: the untuned language model writes a title; what tuning must beat."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import Data, Grounded, Model, Plan, needed


@dataclass(frozen=True, kw_only=True)
class Method(Grounded):
    """Zero-shot: the untuned language model asked for a title, grounded in the catalog."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Ask for a title; nothing is drawn, so all seeds share one ranking."""
        return Plan(final=self.shown(needed(model), data))
