"""Stages of language models: fine-tune, generate, ground or decode titles of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

from bench.data.assets import encoder_checksums
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
from bench.plan.device import planned_device
from bench.plan.item_stages import DEPTH
from bench.plan.stage import SMALL_MODEL_GPUS, Stage
from bench.plan.types import Data, Model, ModelConfig, Policy, Rows, as_policy, model_stage

BACKBONE = "backbone"
"""Instead of a sentence encoder: hidden states of the untuned backbone (BIGRec's program)."""


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(Config):
    """Config of `embed_titles`."""

    encoder: str
    """Name of a sentence encoder, see `bench list encoders`."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""


def embed_titles(data: Stage, encoder: str) -> Stage:
    """Embed all titles of the catalog with a sentence encoder."""
    config = EmbedConfig(encoder=encoder, encoder_checksums=encoder_checksums(encoder))
    return Stage(kind="embed", config=config, inputs={"data": data}, gpus=SMALL_MODEL_GPUS)


@dataclass(frozen=True, kw_only=True)
class HiddenConfig(ModelConfig):
    """Config of `hidden_states`."""


def hidden_states(model: Model, cases: Rows, generated: Stage | None = None) -> Stage:
    """Embed generated texts, or all titles of the catalog, by the untuned backbone."""
    inputs = {"data": cases.data}
    if generated is not None:
        inputs |= {"cases": cases.stage, "generated": generated}
    return model_stage("hidden", model, HiddenConfig(), inputs, nouns=cases.nouns)


@dataclass(frozen=True, kw_only=True)
class GroundingConfig(Config):
    """Config of `ground`."""

    encoder: str = "all-minilm-l6-v2"
    """Sentence encoder that grounds titles (`bench list encoders`), or "backbone" for the hidden
    states of the untuned backbone, as in BIGRec's program."""
    gamma: NonNegativeFloat = 0.0
    """How much the distances of preferred items shrink (BIGRec); 0 for not at all."""
    depth: PositiveInt = DEPTH
    """Number of ranks to store."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""


def ground(
    generated: Stage,
    cases: Rows,
    config: GroundingConfig,
    *,
    model: Model,
    train: Rows | None = None,
    oracle: Stage | None = None,
) -> Stage:
    """Rank the catalog by the distance of each title to the text generated for a test case.

    If the encoder is "backbone", the untuned weights of `model` embed titles. With `gamma`, items
    are preferred by their number of targets in `train`, or by a trained SASRec's scores per case.

    Raises:
        BenchError: `gamma` is set, and nothing tells which items are preferred.
    """
    inputs = {**cases.ranking_inputs, "generated": generated}
    if config.encoder == BACKBONE:
        inputs["vectors"] = hidden_states(model, cases)
        inputs["text_vectors"] = hidden_states(model, cases, generated)
    else:
        config = replace(config, encoder_checksums=encoder_checksums(config.encoder))
        inputs["vectors"] = embed_titles(cases.data, config.encoder)
    if config.gamma:
        if (train is None) == (oracle is None):
            raise BenchError(
                "grounding.gamma needs either training rows or a trained SASRec.",
                "This method has neither: set it to 0.",
            )
        if train is not None:
            inputs["train"] = train.stage
        if oracle is not None:
            inputs["oracle"] = oracle
    return Stage(kind="ground", config=config, inputs=inputs, gpus=SMALL_MODEL_GPUS)


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
    batches is random. The papers' programs do not group."""
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
    """Fine-tune the untuned model, or a policy further, on prompt and target title of every row.

    The seed decides order, dropout and the initial weights of a new adapter. Validation rows are
    required for early stopping and unused otherwise.

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
    """What decodes answers to questions: fixed batches, or continuous batching, which is faster for
    long answers, by transformers or by vLLM (extra "vllm"), both on GPUs only. The latter two use
    random numbers of their own, so another run may sample other answers."""
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
    """Generate text: titles after the histories of rows, or answers to a stage's questions.

    The seed decides what is sampled; without sampling it does not enter the key.

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
    """Generate a title per test case and rank the catalog by the distance to it, see `ground`."""
    texts = generate(start, data.test, generation)
    model = as_policy(start).model
    return ground(texts, data.test, grounding, model=model, train=train, oracle=oracle)


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

    The histories of the test cases are the prompts; the target counts of training rows are the
    items' popularity. A `model_weight` below 1 needs a trained SASRec.

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
