"""SASRec in row form (Kang & McAuley, ICDM 2018), as the LLM papers run it as a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Model, Plain, Plan, rank, sasrec


@dataclass(frozen=True, kw_only=True)
class Method:
    """SASRec: self-attention over item ids (Kang & McAuley, ICDM 2018), row form.

    Defaults are those of the public peer code; SPRec's paper states another learning rate. With
    few rows it is no strong model: from 2,048 it recommends one or two items first to everybody,
    as in SPRec's Table 1; `position_std = 0.01` personalizes there and is worse on all rows.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"learning_rate": 4e-3}
    SPACE: ClassVar[dict[str, Plain]] = {
        "learning_rate": {"log_uniform": [3e-4, 1e-2]},
        "dropout": {"choices": [0.1, 0.3, 0.5]},
    }

    hidden: int = 64
    blocks: int = 1
    heads: int = 1
    dropout: float = 0.1
    position_std: float = 1.0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    batch: int = 1024
    epochs: int = 200
    patience: int = 20
    threads: int = 1

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train on the rows, choose the epoch on validation, rank the whole catalog."""
        weights = sasrec(
            data.train,
            data.valid,
            hidden=self.hidden,
            blocks=self.blocks,
            heads=self.heads,
            dropout=self.dropout,
            position_std=self.position_std,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch=self.batch,
            epochs=self.epochs,
            patience=self.patience,
            seed=seed,
            threads=self.threads,
        )
        return Plan(
            ranking=rank(
                data.test,
                scorer="bench.models.seqrec.sasrec:scorer",
                model=weights,
                threads=self.threads,
            )
        )
