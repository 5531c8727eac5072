"""From a model card to the stages that leave its untuned weights and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.config.backbone_card import ModelCard
from bench.data.assets import folder_checksum
from bench.errors import BenchError
from bench.plan.config import Config, NonNegativeInt, PositiveInt
from bench.plan.language_stages import TrainingConfig
from bench.plan.stage import Stage
from bench.plan.types import Model, ModelSpec, Nouns


@dataclass(frozen=True, kw_only=True)
class GGUFConfig(Config):
    """Config of the stage that converts a GGUF file."""

    name: str
    """Name of the model's card, which tells where the file comes from."""
    sha256: str
    """Checksum of the file."""


@dataclass(frozen=True, kw_only=True)
class HubConfig(Config):
    """Config of the stage that fetches a backbone of the Hugging Face hub."""

    name: str
    """Name of the model's card, for messages."""
    repository: str | None = None
    """Repository on the hub."""
    revision: str | None = None
    """Full hash of its commit."""
    checksum: str | None = None
    """Checksum of the files in the user's own folder, which is used instead of the hub."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig(Config):
    """Config of the stage that builds a randomly initialized backbone and its tokenizer."""

    architecture: Mapping[str, int]
    """Layers, width, heads, intermediate width and vocabulary size."""
    context: int
    """Maximum number of tokens of a sequence."""
    nouns: Nouns
    """What prompts call the items."""
    seed: int
    """Decides the weights."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Config of the stage that pretrains a built backbone on training histories as text."""

    warmup_steps: NonNegativeInt = 100
    """Steps of linear warm-up; never more than a tenth of all steps."""
    max_length: PositiveInt = 256
    """Maximum number of tokens per text; histories are cut into such texts."""


def language_model(
    name: str,
    card: ModelCard,
    *,
    data: Stage,
    nouns: Nouns,
    lists: Stage | None = None,
    model_path: Path | None = None,
) -> Model:
    """Compose a backbone as plans see it.

    Args:
        name: The card's name.
        card: The card.
        data: The prepared data, which a model built from nothing takes its words from.
        nouns: What prompts call the items; its tokenizer learns them, too.
        lists: What is to be re-ranked; a model built from nothing never sees the users who validate
            or test there.
        model_path: The user's own folder of a model, instead of the hub.

    Raises:
        BenchError: `model_path` goes with another kind of card, or is no folder of a model.
    """
    if model_path is not None and card.weights != "hub":
        raise BenchError(
            f"--model-path is for models of the hub, and {name} is {card.weights}.",
            "Leave it out, or name another --model.",
        )
    return Model(
        name=name,
        backbone=_backbone(name.partition(":")[0], card, data, nouns, lists, model_path),
        tuning=card.tuning_arguments,
        dtype=card.dtype,
        quantization=card.quantization,
        context=card.context,
        threads=card.threads,
        gpus=card.gpus,
    )


def _backbone(
    name: str,
    card: ModelCard,
    data: Stage,
    nouns: Nouns,
    lists: Stage | None,
    model_path: Path | None,
) -> Stage:
    if card.weights == "gguf":
        sha256 = card.files["gguf"].sha256
        assert sha256 is not None
        return Stage(kind="gguf", config=GGUFConfig(name=name, sha256=sha256))
    if card.weights == "hub":
        if model_path is not None:
            hub = HubConfig(name=name, checksum=folder_checksum(model_path))
        else:
            hub = HubConfig(name=name, repository=card.repository, revision=card.revision)
        return Stage(kind="hub", config=hub)
    assert card.architecture is not None
    build = BuildConfig(
        architecture=card.architecture.model_dump(mode="json"),
        context=card.context,
        nouns=nouns,
        seed=card.pretraining.seed if card.pretraining else 0,
    )
    built = Stage(kind="build", config=build, inputs={"data": data})
    if card.pretraining is None:
        return built
    spec = ModelSpec(threads=card.threads)
    pretrain = PretrainConfig(model=spec, **card.pretraining.model_dump())
    inputs = {"backbone": built, "data": data}
    if lists is not None:
        inputs["lists"] = lists
    return Stage(kind="pretrain", config=pretrain, inputs=inputs, gpus=card.gpus)
