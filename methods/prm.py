"""PRM (Pei et al., RecSys 2019), as KAR trains it: places of a list attend to one another."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import Data, Model, Plan, Reranked, listed


@dataclass(frozen=True, kw_only=True)
class Method(Reranked):
    """PRM: re-ranks a list by self-attention over its places (Pei et al., RecSys 2019; KAR's form).

    What KAR leaves of it has no personal vector.
    """

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train it on the lists, without any knowledge."""
        return Plan(ranking=self.reranked(listed(data), "prm", seed))
