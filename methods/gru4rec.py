"""GRU4Rec in row form (Hidasi et al., ICLR 2016), as the LLM papers run it as a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, Model, Plain, Plan, gru4rec, rank


@dataclass(frozen=True, kw_only=True)
class Method:
    """GRU4Rec: a recurrent network over item ids (Hidasi et al., ICLR 2016), row form.

    Shares rows, loss and training with `sasrec`, as the peer code of the field does. Which form the
    IGD paper ran is not known.
    """

    SPACE: ClassVar[dict[str, Plain]] = {
        "learning_rate": {"log_uniform": [3e-4, 1e-2]},
        "dropout": {"choices": [0.1, 0.3, 0.5]},
    }

    hidden: int = 64
    layers: int = 1
    dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    batch: int = 1024
    epochs: int = 200
    patience: int = 20
    threads: int = 1

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Train on the rows, choose the epoch on validation, rank the whole catalog."""
        weights = gru4rec(
            data.train,
            data.valid,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
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
                scorer="bench.models.seqrec.gru4rec:scorer",
                model=weights,
                threads=self.threads,
            )
        )
