"""Stages of language models that decode titles of the catalog only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import BenchError
from bench.plan.config import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, plan_field
from bench.plan.item_stages import DEPTH
from bench.plan.policy import ModelConfig, as_policy, model_stage
from bench.plan.stage import Stage
from bench.plan.types import Model, Policy, Rows


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(ModelConfig):
    """Config of `beam_search_rank`."""

    num_beams: PositiveInt = 10
    """Prefixes that are extended at each step, and items per list."""
    max_num_beams: PositiveInt | None = None
    """A list that a wider search might change is searched again with twice the beams, up to this
    many; None for a single search, as in the papers."""
    search: Literal["beam", "exhaustive"] = "beam"
    """"exhaustive" scores every title; then `num_beams` is the number of items per list only."""
    ending: Literal["always", "ranked"] = "always"
    """Which complete titles a beam search takes: all, or those that rank among the best `num_beams`
    extensions of their step, as transformers' search in the papers' programs."""
    length_penalty: NonNegativeFloat = 0.0
    """A title's score is divided by its number of tokens to this power: 0 for sums of
    log-probabilities (D3), 1 for means (BIGRec)."""
    temperature: PositiveFloat = 1.0
    """Logits are divided by it."""
    depth: PositiveInt = DEPTH
    """Number of ranks to store; ranks after the items that the search returns are empty."""
    model_weight: Fraction = plan_field(1.0)
    """Weight of the language model in the mixture with SASRec (D3); 1 for the model alone."""
    igd_alpha: Fraction = plan_field(0.0)
    """How much tokens with a high information gain are favored (IGD)."""
    entropy: Literal["partial", "conditional"] = plan_field("partial")
    """Entropy of the information gain: as in IGD's program, or conditional on the prefix."""
    prior: Literal["popularity", "uniform"] = plan_field("popularity")
    """Probabilities of the titles in that entropy."""


def beam_search_rank(
    start: Model | Policy,
    cases: Rows,
    train: Rows,
    config: DecodingConfig,
    *,
    oracle: Stage | None = None,
) -> Stage:
    """Rank the catalog's titles by their probability under a policy, by constrained beam search.

    Args:
        start: The policy, or the untuned model.
        cases: Test cases, whose histories are the prompts.
        train: Training rows, whose target counts are the items' popularity.
        config: How to search, and what guides the search.
        oracle: A trained SASRec, for a `model_weight` below 1.

    Raises:
        BenchError: The beams exclude each other.
    """
    assert oracle is not None or config.model_weight == 1, "a mixture needs SASRec"
    if config.search == "exhaustive" and config.max_num_beams is not None:
        raise BenchError("An exhaustive search widens no beams.", "Leave out max_num_beams.")
    if config.search == "exhaustive" and config.ending != "always":
        raise BenchError("An exhaustive search takes all titles.", 'Set ending = "always".')
    policy = as_policy(start)
    inputs = {**cases.ranking_inputs, "train": train.stage}
    # The policy alone needs no SASRec, and then none is trained.
    if oracle is not None and config.model_weight < 1:
        inputs["oracle"] = oracle
    config = replace(
        config,
        max_num_beams=config.max_num_beams or config.num_beams,
        append_eos=policy.append_eos,
    )
    return model_stage("decode", policy, config, inputs, nouns=cases.nouns)
