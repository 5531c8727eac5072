"""Stages that fine-tune language models and generate text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

from bench.errors import BenchError
from bench.plan.config import (
    FunctionReference,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    function_field,
    plan_field,
)
from bench.plan.device import planned_device
from bench.plan.grounding_stages import GroundingConfig, ground
from bench.plan.policy import ModelConfig, as_policy, model_stage
from bench.plan.stage import Stage
from bench.plan.types import Data, Model, Policy, Rows


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
    group_by_length: bool = True
    """Whether samples of similar length share a batch, which avoids most padding; the order of the
    batches is random. The papers' programs group none."""
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
    """What the loss is averaged over, see `bench.models.lm.train.token_loss.coefficients`."""
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
    backend: Literal["transformers", "continuous", "vllm"] = "transformers"
    """What decodes answers to questions: batches of equal steps; continuous batching, faster for
    long answers, by transformers or by vLLM (extra "vllm"), each on a GPU only. The latter two
    sample from random numbers of their own, so that another run may sample other answers."""
    seed: int = plan_field(0)
    """Decides what is sampled."""

    def __post_init__(self) -> None:
        """Refuse values that exclude each other."""
        super().__post_init__()
        if self.backend != "transformers" and self.num_beams > 1:
            raise BenchError(
                f"The backend {self.backend} has no beam search.", "Set num_beams to 1."
            )
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
    _check_backend(config.backend, titles=isinstance(prompts, Rows))
    if isinstance(prompts, Rows):
        inputs, nouns = {"data": prompts.data, "rows": prompts.stage}, {"nouns": prompts.nouns}
    else:
        inputs, nouns = {"prompts": prompts}, {}
    if config.temperature:
        config = replace(config, seed=seed)
    else:  # without sampling these decide nothing, and equal work has equal keys
        config = replace(config, seed=0, top_k=0, top_p=1.0)
    return model_stage("generate", start, config, inputs, **nouns)


def _check_backend(backend: str, *, titles: bool) -> None:
    """Refuse a backend that cannot generate these texts, or not here."""
    if backend == "transformers":
        return
    hint = 'Set backend = "transformers".'
    if titles:
        raise BenchError(f"The backend {backend} does not end titles at their quotes.", hint)
    if planned_device() == "cpu":
        raise BenchError(f"not run: the backend {backend} needs a GPU, and there is none.", hint)
    if backend == "vllm" and find_spec("vllm") is None:
        raise BenchError(
            "not run: the backend vllm needs vLLM, which is not installed.",
            "Install the extra: pip install -e '.[vllm]', or leave the backend out.",
        )


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
