"""KAR (Xi et al., RecSys 2024, arXiv 2306.10933): a language model's knowledge for a re-ranker."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import Data, Knowing, Model, Plan


@dataclass(frozen=True, kw_only=True)
class Method(Knowing):
    """KAR: what a language model says of users and items, encoded, joins a re-ranker's features.

    Attributes:
        writer: Name of a model elsewhere that writes in the place of the language model: by an
            endpoint (BENCH_ENDPOINT), which takes no top_k, or from a file of responses
            (BENCH_RESPONSES).
    """

    writer: str = ""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Ask once about every user and item, then train the re-ranker."""
        lists = self.known(data)
        if self.writer:
            return Plan(ranking=self.quoted(data, lists, self.writer, seed=seed))
        asked = self.asked(model)
        items = self.items_read(asked, lists)
        return Plan(ranking=self.informed(asked, lists, items, seed=seed))
