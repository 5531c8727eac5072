"""D3 (Bao et al., EMNLP 2024, arXiv 2406.14900): debiased and diversified decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    Constrained,
    Data,
    FineTuned,
    Model,
    Plain,
    Plan,
    Stage,
    chosen,
    train_sasrec,
)


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Constrained):
    """D3: BIGRec's checkpoint decoded without length normalisation, SASRec assisting (Bao, 2024).

    The papers do not give alpha. The released commands leave it at 1, which is no assistant at all:
    that is `as_published`, and what the IGD paper calls D3.

    Attributes:
        alpha: Weight of the language model beside the assistant, from 0 to 1.
        alphas: Several, of which the best on validation is taken instead.
        chosen_by: The metric that decides between them.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"alpha": 1.0}
    SPACE: ClassVar[dict[str, Plain]] = {"alpha": {"choices": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}}

    alpha: float = 0.8
    alphas: tuple[float, ...] = ()
    chosen_by: str = "NDCG@5"

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune as BIGRec does, then decode inside the catalogue."""
        policy = self.base(data, model, seed)
        oracle = train_sasrec(data.train, data.valid, seed=seed)

        def ranked(cases: Data, alpha: float) -> Stage:
            return self.decoded(policy, cases, oracle=oracle, assistant=alpha, eos=self.eos)

        alphas = self.alphas or (self.alpha,)
        return Plan(final=chosen(alphas, ranked, data, metric=self.chosen_by))
