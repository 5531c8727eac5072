"""DLCM (Ai et al., SIGIR 2018), as KAR trains it: a GRU reads the list, each place is scored."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import Data, Model, Plan, Reranked, listed


@dataclass(frozen=True, kw_only=True)
class Method(Reranked):
    """DLCM: re-ranks a list by a recurrent reading of it (Ai et al., SIGIR 2018; KAR's form)."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train it on the lists, without any knowledge."""
        return Plan(ranking=self.reranked(listed(data), "dlcm", seed))
