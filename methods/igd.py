"""IGD (Lin et al., NeurIPS 2025, arXiv 2506.13229): tokens weighted by information gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Literal

from bench.api import (
    Data,
    DecodingConfig,
    Fraction,
    Model,
    Plain,
    Plan,
    Policy,
    SFTConfig,
    Stage,
    beam_search_rank,
    require_model,
    select_on_validation,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """IGD: tokens without information gain weigh less in training and decoding (Lin et al., 2025).

    `decoding.length_penalty` = 1 applies it to what the paper calls BIGRec, 0 to D3. Ablations:
    `beta` = 1 trains as BIGRec does, `alpha` = 0 decodes as the base method does.
    """

    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choice": [0.08, 0.1, 0.2, 0.4, 0.5, 0.6]},
        "alpha": {"choice": [0.0, 0.1, 0.2, 0.3, 0.4]},
    }

    sft: SFTConfig = SFTConfig()
    decoding: DecodingConfig = DecodingConfig()
    beta: Fraction = 0.1
    """Weight in training of a token without information gain."""
    alpha: Fraction = 0.2
    """How much tokens with a high information gain are favored in decoding."""
    betas: tuple[Fraction, ...] = ()
    """Values of `beta`; the best on validation is used, together with `alphas`."""
    alphas: tuple[Fraction, ...] = ()
    """Values of `alpha`; the best on validation is used, together with `betas`."""
    selection_metric: str = "NDCG@5"
    """Metric that selects among `betas` and `alphas`."""
    entropy: Literal["partial", "conditional"] = "partial"
    """Entropy of the information gain: as in the program, or conditional on the prefix."""
    prior: Literal["popularity", "uniform"] = "popularity"
    """Probabilities of the titles: of the training targets, or uniform."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune on weighted tokens, then decode with weights."""

        def rank(split: Data, weights: tuple[float, float]) -> Stage:
            beta, alpha = weights
            decoding = replace(
                self.decoding,
                igd_alpha=alpha,
                entropy=self.entropy,
                prior=self.prior,
            )
            policy = self._fine_tune(data, require_model(model), beta, seed)
            return beam_search_rank(policy, split.test, split.train, decoding)

        grid = tuple(product(self.betas or (self.beta,), self.alphas or (self.alpha,)))
        return Plan(ranking=select_on_validation(grid, rank, data, metric=self.selection_metric))

    def _fine_tune(self, data: Data, model: Model, beta: float, seed: int) -> Policy:
        config = self.sft
        if beta != 1:
            config = replace(
                config,
                weighting="bench.models.lm.train.information_gain:igd_weights",
                weighting_arguments={"beta": beta},
            )
        return sft(model, data.train, config, seed=seed, valid=data.valid)
