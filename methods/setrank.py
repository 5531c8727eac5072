"""SetRank (Pang et al., SIGIR 2020), as KAR trains it: a list is a set that attends to itself."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import Data, Model, Plan, Reranked, listed, one_of


@dataclass(frozen=True, kw_only=True)
class Method(Reranked):
    """SetRank: re-ranks a list as a set, whatever its order (Pang et al., SIGIR 2020; KAR's form).

    Attributes:
        setrank_loss: "kar_offset"; "kar" to the letter, whose gradient is 0 where all scores of a
            list are; or "softmax".
        setrank_temperature: Of the attention rank.
    """

    setrank_loss: str = "kar_offset"
    setrank_temperature: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        super().__post_init__()
        one_of(self, "setrank_loss", ("kar_offset", "kar", "softmax"))

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train it on the lists, without any knowledge."""
        loss = {"setrank_loss": self.setrank_loss, "temperature": self.setrank_temperature}
        return Plan(ranking=self.reranked(listed(data), "setrank", seed, **loss))
