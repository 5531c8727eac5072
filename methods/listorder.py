"""List order: baselines of re-ranking without training: as given, by popularity, the optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, ListOrderConfig, Model, Plan, order_lists, require_lists


@dataclass(frozen=True, kw_only=True)
class Method(ListOrderConfig):
    """ListOrder: what any re-ranker must beat ("given", "popularity"), and its bound ("oracle")."""

    TASK: ClassVar[str] = "rerank"

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Order the lists; nothing is sampled, so all seeds share one order."""
        return Plan(ranking=order_lists(require_lists(data), ListOrderConfig(**vars(self))))
