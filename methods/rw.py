"""RW (IFairLRS; Jiang et al., WWW 2024, arXiv 2402.15215): rows weighted by category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, FineTuned, Grounded, Model, Plain, Plan


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Grounded):
    """RW: BIGRec with rows that count more if their target's category is rare (Jiang et al., 2024).

    `as_published` is what the authors' program computes: it scales micro-batches and leaves the
    rows inside one alike.

    Attributes:
        mean_over: "rows" weights rows; "micro-batch" is the program's arithmetic.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"mean_over": "micro-batch", "sft_loss": "sequence"}
    SPACE: ClassVar[dict[str, Plain]] = {"sft_learning_rate": {"log_uniform": [1e-4, 3e-3]}}

    mean_over: str = "rows"

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted rows, write, ground."""
        weights = "bench.data.reweighting:weight_by_category"
        policy = self.base(data, model, seed, weights=weights, mean_over=self.mean_over)
        return Plan(final=self.shown(policy, data))
