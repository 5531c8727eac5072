"""KAR (Xi et al., RecSys 2024, arXiv 2306.10933): a language model's knowledge for a re-ranker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    RERANKER_SPACE,
    Data,
    KnowledgeConfig,
    Model,
    Plain,
    Plan,
    RerankerConfig,
    describe_externally,
    describe_items,
    describe_users,
    extend_context,
    require_lists,
    rerank_lists,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """KAR: encoded texts of a language model about users and items become re-ranker features."""

    TASK: ClassVar[str] = "rerank"
    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "reranker.select_on": "test",
        "knowledge.encoding.long_text": "truncate",
    }
    SPACE: ClassVar[Mapping[str, Plain]] = RERANKER_SPACE

    knowledge: KnowledgeConfig = KnowledgeConfig()
    """How texts are generated and encoded."""
    reranker: RerankerConfig = RerankerConfig()
    """How the re-ranker is trained."""
    writer: str = ""
    """Name of an external model that writes the texts instead: through an endpoint
    (BENCH_ENDPOINT), which takes no top_k, or from a file of responses (BENCH_RESPONSES)."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Generate a text about every user and item, then train the re-ranker."""
        lists = require_lists(data, described=True)
        if self.writer:
            users = describe_externally(data, lists, "users", self.knowledge, self.writer)
            items = describe_externally(data, lists, "items", self.knowledge, self.writer)
        else:
            model = extend_context(model, self.knowledge)
            users = describe_users(model, lists, self.knowledge, seed=seed)
            items = describe_items(model, lists, self.knowledge)
        return Plan(ranking=rerank_lists(lists, self.reranker, seed=seed, users=users, items=items))
