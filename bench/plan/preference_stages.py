"""Stages that sample preference pairs and optimize preferences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.data.assets import encoder_checksums
from bench.errors import BenchError
from bench.plan.config import (
    Config,
    Fraction,
    FunctionReference,
    PositiveFloat,
    PositiveInt,
    function_field,
    plan_field,
)
from bench.plan.language_stages import TrainingConfig, embed_titles
from bench.plan.stage import Stage
from bench.plan.types import Model, Pairs, Policy, Rows, as_policy, model_stage


@dataclass(frozen=True, kw_only=True)
class PairConfig(Config):
    """Config of `sample_pairs`."""

    negatives: Literal["generated", "random", "popular", "similar"] = "generated"
    """Rejected responses: what a policy generated for the same rows; or titles of items drawn
    uniformly, in proportion to their counts in all training interactions (not only in the rows
    drawn from them), or most similar to the history (RosePO)."""
    combined_with: tuple[Literal["random", "popular", "similar"], ...] = ()
    """Further kinds; each row has one of all kinds, drawn uniformly (RosePO)."""
    num_negatives: PositiveInt = 1
    """Rejected responses per pair, K."""
    random_fraction: Fraction = 0.0
    """Fraction of the rows whose generated negatives are replaced by random items (SPRec, Fig. 5);
    1 needs no generated texts."""
    max_pairs: PositiveInt | None = None
    """Maximum number of pairs, see `bench.stages.pairs` for which; None keeps all."""
    encoder: str = ""
    """Sentence encoder that replaces generated texts by the nearest item's title, and finds
    "similar" items; empty for none."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""
    smooth: bool = plan_field(False)
    """Whether a label smoothing is computed per pair: the oracle's probability that the rejected
    item is preferred (RosePO)."""
    seed: int = plan_field(0)
    """Decides random items and the order of the pairs."""


def sample_pairs(
    rows: Rows,
    config: PairConfig,
    *,
    seed: int,
    generated: Stage | None = None,
    recommended: Stage | None = None,
    oracle: Stage | None = None,
) -> Pairs:
    """Make preference pairs: the row's target is chosen, one or more responses are rejected.

    Rows are tried in their order. Negatives "generated" need texts generated for the same rows, or
    a ranking for them by constrained decoding, whose first titles they are. A trained SASRec is for
    label smoothing. The seed decides random items and the order of the pairs.
    """
    inputs = {"data": rows.data, "rows": rows.stage}
    if generated is not None:
        inputs["generated"] = generated
    if recommended is not None:
        inputs["recommended"] = recommended
    if oracle is not None:
        inputs["oracle"] = oracle
    checksums: Mapping[str, str] = {}
    if config.encoder:
        checksums = encoder_checksums(config.encoder)
        inputs["vectors"] = embed_titles(rows.data, config.encoder)
    config = replace(config, seed=seed, smooth=oracle is not None, encoder_checksums=checksums)
    stage = Stage(kind="pairs", config=config, inputs=inputs)
    return Pairs(data=rows.data, stage=stage, nouns=rows.nouns)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """Config of `optimize_preferences`."""

    loss: Literal["dpo", "sdpo", "dmpo", "dmpo-sum", "rosepo"] | FunctionReference = function_field(
        "dpo"
    )
    """Preference loss of `bench.models.lm.train.preference_losses`.

    Or a method's own function of the same signature, which may also take log-probabilities and
    lengths (SimPO, CPO, ORPO).
    """
    loss_arguments: Mapping[str, Any] = plan_field(default_factory=dict)
    """Further keyword arguments of the loss."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the reference policy."""
    prompt_style: Literal["wrapped", "bare"] = "wrapped"
    """Title prompts with instruction markers, or "bare" without them as in SPRec's program."""
    reference: Literal["start", "weights", "backbone"] = plan_field("start")
    """Reference policy: the start, the weights of another policy, or the untuned backbone."""


def optimize_preferences(
    start: Model | Policy,
    pairs: Pairs,
    config: PreferenceConfig,
    *,
    seed: int,
    reference: Model | Policy | None = None,
) -> Policy:
    """Optimize preferences for titles or answers by DPO or a related loss, without dropout.

    The start is the reference unless another policy is passed; its log-probabilities are computed
    once. The seed decides the order.

    Raises:
        BenchError: A prompt style is set for answers in free text.
    """
    policy = as_policy(start)
    other = None if reference is None else as_policy(reference)
    role: Literal["start", "weights", "backbone"] = "start"
    if pairs.questions is not None:
        if config.prompt_style != "wrapped":
            raise BenchError("prompt_style is for title prompts only.", "Leave it out.")
        inputs = {"prompts": pairs.questions, "pairs": pairs.stage}
    else:
        assert pairs.data is not None
        inputs = {"data": pairs.data, "pairs": pairs.stage}
    if other is not None and other != policy:
        role = "weights" if other.weights else "backbone"
        if other.weights is not None:
            inputs["reference"] = other.weights
    config = replace(config, seed=seed, reference=role, append_eos=policy.append_eos)
    stage = model_stage("preference", policy, config, inputs, nouns=pairs.nouns)
    return replace(policy, weights=stage)
