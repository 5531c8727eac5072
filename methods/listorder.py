"""List order: re-ranking lists without learning: as given, by popularity, or the best there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Model, Plan, listed, one_of, order


@dataclass(frozen=True, kw_only=True)
class Method:
    """ListOrder: what any re-ranker must beat, and what none can.

    Attributes:
        by: "given" keeps the shuffled list, a random order; "popularity" counts who interacted,
            test users apart; "oracle" puts the positives first.
    """

    TASK: ClassVar[str] = "rerank"

    by: str = "popularity"

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        one_of(self, "by", ("given", "popularity", "oracle"))

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Order the lists; nothing is drawn, so all seeds share one order."""
        return Plan(ranking=order(listed(data).stage, by=self.by))
