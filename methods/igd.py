"""IGD (Lin et al., NeurIPS 2025, arXiv 2506.13229): tokens weighted by what they decide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

from bench.api import Constrained, Data, FineTuned, Model, Plain, Plan, Stage, chosen


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Constrained):
    """IGD: tokens that narrow nothing down count less, telling ones more (Lin et al., 2025).

    `length_penalty` = 1 puts it on the host that the paper calls BIGRec, 0 on D3. Without its
    parts: `beta` = 1 trains as BIGRec does, `alpha` = 0 decodes as the host does.

    Attributes:
        beta: Weight in training of a token without information gain, from 0 to 1.
        alpha: How much telling tokens are favored in decoding, from 0 to 1.
        betas: Several, of which the best on validation is taken instead, together with `alphas`.
        alphas: Likewise.
        chosen_by: The metric that decides between them.
        entropy: "partial" as in the program, or "conditional" on the prefix.
        prior: "popularity" of the training targets, or "uniform".
        trained_only: Whether only training targets can be recommended, as in the program.
    """

    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.08, 0.1, 0.2, 0.4, 0.5, 0.6]},
        "alpha": {"choices": [0.0, 0.1, 0.2, 0.3, 0.4]},
    }

    beta: float = 0.1
    alpha: float = 0.2
    betas: tuple[float, ...] = ()
    alphas: tuple[float, ...] = ()
    chosen_by: str = "NDCG@5"
    entropy: str = "partial"
    prior: str = "popularity"
    trained_only: bool = True

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted tokens, then decode with weights."""

        def ranked(cases: Data, weights: tuple[float, float]) -> Stage:
            beta, alpha = weights
            weighting = {
                "weights": "bench.models.lm.train.information_gain:igd_weights",
                "weight_settings": {"beta": beta, "trained_only": self.trained_only},
            }
            return self.decoded(
                self.base(data, model, seed, **({} if beta == 1 else weighting)),
                cases,
                igd_alpha=alpha,
                entropy=self.entropy,
                prior=self.prior,
                trained_only=self.trained_only,
                eos=self.eos,
            )

        grid = tuple(product(self.betas or (self.beta,), self.alphas or (self.alpha,)))
        return Plan(final=chosen(grid, ranked, data, metric=self.chosen_by))
