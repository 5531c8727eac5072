"""PRM (Pei et al., RecSys 2019), as KAR trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    RERANKER_SPACE,
    Data,
    Model,
    Plain,
    Plan,
    RerankerConfig,
    require_lists,
    rerank_lists,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """PRM: re-ranks a list by self-attention over its positions (Pei et al., RecSys 2019).

    KAR's form, which has no personal vector.
    """

    TASK: ClassVar[str] = "rerank"
    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"reranker.select_on": "test"}
    SPACE: ClassVar[Mapping[str, Plain]] = RERANKER_SPACE

    reranker: RerankerConfig = RerankerConfig(backbone="prm")
    """How the re-ranker is trained."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train on the candidate lists, without any knowledge."""
        return Plan(ranking=rerank_lists(require_lists(data), self.reranker, seed=seed))
