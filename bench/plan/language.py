"""Stages that fine-tune language models, optimize preferences and generate text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.data.encoders import encoder_checksums
from bench.errors import BenchError
from bench.plan.config import (
    Config,
    Fraction,
    FunctionReference,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    function_field,
    plan_field,
)
from bench.plan.grounding import GroundingConfig, embed_titles, ground
from bench.plan.parts import Data, Model, Pairs, Policy, Rows
from bench.plan.policies import ModelConfig, as_policy, model_stage
from bench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ModelConfig):
    """Config of a stage that trains a language model: AdamW, linear warm-up, linear decay to 0."""

    num_train_epochs: PositiveInt = 1
    """Passes over the training rows."""
    learning_rate: PositiveFloat = 2e-5
    """Peak learning rate."""
    batch_size: PositiveInt = 8
    """Rows per optimizer step, on all devices and micro-batches together."""
    warmup_steps: NonNegativeInt = 20
    """Steps of linear warm-up; never more than a tenth of all steps."""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of transformers' TrainingArguments, for example {weight_decay = 0.01}."""
    seed: int = plan_field(0)
    """Decides the order of rows, dropout and the initial weights of a new adapter."""


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    """Config of `sft`. Defaults are SPRec's (Gao et al., WWW 2025), with the loss on responses."""

    num_train_epochs: PositiveInt = 4
    """Passes over the training rows; the maximum where `early_stopping_patience` is set."""
    learning_rate: PositiveFloat = 3e-4
    """Peak learning rate."""
    batch_size: PositiveInt = 16
    """Rows per optimizer step, on all devices and micro-batches together."""
    early_stopping_patience: NonNegativeInt = 0
    """Epochs without a lower validation loss after which training stops and the best epoch's
    weights are restored; 0 trains all epochs and keeps the last weights."""
    completion_only_loss: bool = True
    """Whether the loss covers the responses only; otherwise prompt and response."""
    append_eos: bool = True
    """Whether responses end with the end-of-sequence token."""
    weighting: FunctionReference | Literal[""] = function_field("", setting=False)
    """Function that weights the response tokens, see `bench.stages.sft`; empty for weight 1."""
    weighting_arguments: Mapping[str, Any] = plan_field(default_factory=dict)
    """Keyword arguments of `weighting`."""
    mean_over: Literal["tokens", "rows", "micro-batch"] = plan_field("tokens")
    """What the loss is averaged over, see `bench.lm.token_loss.coefficients`."""
    counterfactual_weight: NonNegativeFloat = plan_field(0.0)
    """Weight of CFT's second loss, on the logits minus those of the prompt without history."""


def sft(
    start: Model | Policy,
    rows: Rows,
    config: SFTConfig,
    *,
    seed: int,
    valid: Rows | None = None,
) -> Policy:
    """Fine-tune on the prompt and the target title of every row.

    Args:
        start: The untuned model, or the policy that training continues from.
        rows: Training rows.
        config: Hyper-parameters.
        seed: Decides order, dropout and the initial weights of a new adapter.
        valid: Validation rows, required for early stopping and unused otherwise.

    Raises:
        BenchError: Early stopping has no validation rows.
    """
    inputs = {"data": rows.data, "rows": rows.stage}
    if config.early_stopping_patience:
        if valid is None:
            raise BenchError(
                "early_stopping_patience needs validation rows, and this step has none.",
                "Set it to 0.",
            )
        inputs["valid"] = valid.stage
    config = replace(config, seed=seed)
    stage = model_stage("sft", start, config, inputs, nouns=rows.nouns)
    return Policy(model=as_policy(start).model, weights=stage, append_eos=config.append_eos)


@dataclass(frozen=True, kw_only=True)
class PairConfig(Config):
    """Config of `sample_pairs`."""

    negatives: Literal["generated", "random", "popular", "similar"] = "generated"
    """Rejected responses: what a policy generated for the same rows; or titles of items drawn
    uniformly, in proportion to their training counts, or most similar to the history (RosePO)."""
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
    oracle: Stage | None = None,
) -> Pairs:
    """Make preference pairs: the row's target is chosen, one or more responses are rejected.

    Args:
        rows: Rows in the order in which they are tried.
        config: Which responses are rejected, and how many.
        seed: Decides random items and the order.
        generated: Texts generated for the same rows, for negatives "generated".
        oracle: A trained SASRec, for label smoothing.
    """
    inputs = {"data": rows.data, "rows": rows.stage}
    if generated is not None:
        inputs["generated"] = generated
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
    """Preference loss of `bench.lm.losses`, or a method's own function of the same signature."""
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
    """Optimize preferences by DPO or a related loss, without dropout.

    Args:
        start: Where training starts; also the reference unless another one is passed.
        pairs: Chosen and rejected responses, titles or answers in free text.
        config: Hyper-parameters.
        seed: Decides the order.
        reference: Policy of the reference log-probabilities, which are computed once.

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


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(ModelConfig):
    """Config of `generate`, with the names of transformers' GenerationConfig."""

    max_new_tokens: PositiveInt = 32
    """Maximum number of tokens per text."""
    temperature: NonNegativeFloat = 0.0
    """0 takes the most probable token; above 0 tokens are sampled."""
    top_k: NonNegativeInt = 0
    """Number of most probable tokens that are sampled from; 0 for all."""
    top_p: PositiveFloat = 1.0
    """Cumulative probability of the most probable tokens that are sampled from, at most 1."""
    num_beams: PositiveInt = 1
    """Beams of the beam search; 1 for none."""
    num_return_sequences: PositiveInt = 1
    """Texts per prompt: at most `num_beams`, or any number where they are sampled."""
    seed: int = plan_field(0)
    """Decides what is sampled."""

    def __post_init__(self) -> None:
        """Refuse values that exclude each other."""
        super().__post_init__()
        if self.top_p > 1:
            raise BenchError(f"top_p is {self.top_p}, and probabilities end at 1.")
        if self.temperature and self.num_beams > 1:
            raise BenchError(
                "A beam search samples nothing, so it takes no temperature.",
                "Set the temperature to 0 or num_beams to 1.",
            )
        if not self.temperature and self.num_return_sequences > self.num_beams:
            raise BenchError(
                f"A search with {self.num_beams} beams cannot return "
                f"{self.num_return_sequences} texts.",
                f"Set num_beams to {self.num_return_sequences} or more, or a temperature above 0.",
            )


def generate(
    start: Model | Policy,
    prompts: Rows | Stage,
    config: GenerationConfig,
    *,
    seed: int = 0,
) -> Stage:
    """Generate text: titles for rows, or answers to questions.

    Args:
        start: The policy, or the untuned model.
        prompts: Rows whose histories make title prompts, or the stage that writes questions.
        config: How to decode.
        seed: Decides what is sampled; without sampling it does not enter the key.

    Returns:
        The stage whose artifact holds the texts: best first for titles, as drawn for answers.
    """
    if isinstance(prompts, Rows):
        inputs, nouns = {"data": prompts.data, "rows": prompts.stage}, {"nouns": prompts.nouns}
    else:
        inputs, nouns = {"prompts": prompts}, {}
    if config.temperature:
        config = replace(config, seed=seed)
    else:  # without sampling these decide nothing, and equal work has equal keys
        config = replace(config, seed=0, top_k=0, top_p=1.0)
    return model_stage("generate", start, config, inputs, **nouns)


def generate_and_ground(
    start: Model | Policy,
    data: Data,
    generation: GenerationConfig,
    grounding: GroundingConfig,
    *,
    train: Rows | None = None,
    oracle: Stage | None = None,
) -> Stage:
    """Generate a title per test case and rank the catalog by the distance to it.

    Args:
        start: The policy, or the untuned model.
        data: The trial's data.
        generation: How to decode.
        grounding: Encoder and adjustment.
        train: See `ground`.
        oracle: See `ground`.
    """
    texts = generate(start, data.test, generation)
    model = as_policy(start).model
    return ground(texts, data.test, grounding, model=model, train=train, oracle=oracle)
