"""SASRec (Kang & McAuley, ICDM 2018), in row form as the LLM papers run it, or in sequence form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Model, Plain, Plan, SASRecConfig, rank, train_sasrec


@dataclass(frozen=True, kw_only=True)
class Method(SASRecConfig):
    """SASRec: self-attention over item ids (Kang & McAuley, ICDM 2018).

    Defaults are those of the public baseline code; SPRec's paper states another learning rate.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"learning_rate": 4e-3}
    SPACE: ClassVar[dict[str, Plain]] = {
        "learning_rate": {"loguniform": [3e-4, 1e-2]},
        "dropout": {"choice": [0.1, 0.3, 0.5]},
    }

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train on the rows, choose the epoch on validation, rank the whole catalog."""
        config = SASRecConfig(**vars(self))
        weights = train_sasrec(data.train, data.valid, config, seed=seed)
        return Plan(ranking=rank(data.test, model=weights, threads=self.threads))
