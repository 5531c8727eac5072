"""GRU4Rec (Hidasi et al., ICLR 2016), in row form as the LLM papers run it, or in sequence form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, GRU4RecConfig, Model, Plain, Plan, rank, train_gru4rec


@dataclass(frozen=True, kw_only=True)
class Method(GRU4RecConfig):
    """GRU4Rec: a recurrent network over item ids (Hidasi et al., ICLR 2016).

    Shares rows, loss and training with `sasrec`, as in the public baseline code. The IGD paper does
    not say which form it ran.
    """

    SPACE: ClassVar[dict[str, Plain]] = {
        "learning_rate": {"loguniform": [3e-4, 1e-2]},
        "dropout": {"choice": [0.1, 0.3, 0.5]},
    }

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train on the rows, choose the epoch on validation, rank the whole catalog."""
        config = GRU4RecConfig(**vars(self))
        weights = train_gru4rec(data.train, data.valid, config, seed=seed)
        return Plan(ranking=rank(data.test, model=weights, threads=self.threads))
