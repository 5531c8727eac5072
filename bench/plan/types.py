"""What plans are made of: rows, lists, data, models, policies, pairs; and the plan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from bench.errors import BenchError
from bench.plan.config import Config, plan_field
from bench.plan.stage import Stage


class Nouns(NamedTuple):
    """What prompts call one item and several items, for example "movie" and "movies"."""

    singular: str = "item"
    plural: str = "items"


ITEMS = Nouns()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Samples of one split.

    Attributes:
        data: The prepared data.
        stage: The stage that draws the samples.
        nouns: What prompts call the items.
        candidates: The stage that draws the training samples, if only their targets can be
            recommended; None if the whole catalog can.
        group_titles: Whether metrics count items of one title as one.
    """

    data: Stage
    stage: Stage
    nouns: Nouns = ITEMS
    candidates: Stage | None = None
    group_titles: bool = True

    @property
    def ranking_inputs(self) -> dict[str, Stage]:
        """Inputs of every stage that ranks the catalog for these samples."""
        inputs = {"data": self.data, "cases": self.stage}
        return inputs if self.candidates is None else inputs | {"candidates": self.candidates}


@dataclass(frozen=True, kw_only=True)
class ListData:
    """Candidate lists to re-rank.

    Attributes:
        stage: The stage that makes them.
        domain: What prompts are about: "movie", "book" or "product".
        titles: How prompts write titles: "keep", "fronted" or "cleaned".
        described: Whether items have titles; without titles no language model can be prompted.
        part: Users whose lists are evaluated.
    """

    stage: Stage
    domain: str = "product"
    titles: str = "keep"
    described: bool = True
    part: Literal["valid", "test"] = "test"


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set as plans see it; `lists` is None where its card defines no candidate lists."""

    name: str
    train: Rows
    valid: Rows
    test: Rows
    lists: ListData | None = None

    @property
    def on_validation(self) -> Data:
        """The same data with validation cases, and lists, in the place of test cases."""
        lists = None if self.lists is None else replace(self.lists, part="valid")
        return replace(self, test=self.valid, lists=lists)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How stages load a backbone and compute with it.

    Attributes:
        tuning: {"kind": "full"}, or {"kind": "lora"} with rank, alpha, dropout and targets.
        dtype: "float32" or "bfloat16": of the base weights and the arithmetic.
        quantization: "none", or "nf4" for base weights in 4 bits while training.
        context: Maximum number of tokens of prompt and response together.
        threads: CPU threads.
    """

    tuning: Mapping[str, Any] = field(default_factory=lambda: {"kind": "full"})
    dtype: Literal["float32", "bfloat16"] = "float32"
    quantization: Literal["none", "nf4"] = "none"
    context: int = 512
    threads: int = 1

    def __post_init__(self) -> None:
        assert self.tuning["kind"] in ("full", "lora")

    @property
    def weights(self) -> dict[str, Any]:
        """Arguments of `bench.models.lm.tuned_model.load` that decide which weights are loaded."""
        return {"tuning": self.tuning, "dtype": self.dtype, "quantization": self.quantization}


@dataclass(frozen=True, kw_only=True)
class Model(ModelSpec):
    """A language model as plans see it.

    Attributes:
        name: Name of its card.
        backbone: The stage whose artifact is the untuned model with its tokenizer.
        gpus: GPUs, or the fraction of one, that its stages request; decides nothing else.
    """

    name: str
    backbone: Stage
    gpus: float = 1.0

    @property
    def spec(self) -> ModelSpec:
        """The part that decides what its stages compute."""
        return ModelSpec(**{each.name: getattr(self, each.name) for each in fields(ModelSpec)})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A language model with trained weights; without any, the untuned backbone.

    Attributes:
        weights: The stage that trained it last; its artifact holds the adapter, or all weights.
        append_eos: Whether its responses end with the end-of-sequence token.
    """

    model: Model
    weights: Stage | None = None
    append_eos: bool = True


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Preference pairs: a prompt with one chosen and one or more rejected responses.

    Attributes:
        stage: The stage that makes them.
        data: The prepared data, for pairs of titles.
        nouns: What prompts call the items, for pairs of titles.
        questions: The questions, for pairs of answers in free text.
    """

    stage: Stage
    data: Stage | None = None
    nouns: Nouns = ITEMS
    questions: Stage | None = None

    def __post_init__(self) -> None:
        assert (self.data is None) != (self.questions is None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a method's `plan` returns.

    Attributes:
        ranking: The stage that ends in the ranking which boards show.
        checkpoints: Further rankings by name, evaluated as well.
    """

    ranking: Stage
    checkpoints: Mapping[str, Stage] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Config of a stage that computes with a language model."""

    model: ModelSpec = plan_field(ModelSpec())
    """How the backbone is loaded."""
    nouns: Nouns = plan_field(ITEMS)
    """What prompts call the items."""
    append_eos: bool = plan_field(True)
    """Whether responses end with the end-of-sequence token."""


def require_model(model: Model | None) -> Model:
    """Return the language model.

    Raises:
        BenchError: There is none.
    """
    if model is None:
        raise BenchError(
            "This method needs a language model, and none is set.", "Add --model nano."
        )
    return model


def as_policy(start: Model | Policy) -> Policy:
    """Return an untuned model as a policy without trained weights."""
    return Policy(model=start) if isinstance(start, Model) else start


def model_stage(
    kind: str,
    start: Model | Policy,
    config: ModelConfig,
    inputs: Mapping[str, Stage],
    *,
    nouns: Nouns = ITEMS,
) -> Stage:
    """Compose a stage that computes with a policy or starts from it; its config gets the model."""
    policy = as_policy(start)
    all_inputs = {"backbone": policy.model.backbone, **inputs}
    if policy.weights is not None:
        all_inputs["start"] = policy.weights
    config = replace(config, model=policy.model.spec, nouns=nouns)
    return Stage(kind=kind, config=config, inputs=all_inputs, gpus=policy.model.gpus)
