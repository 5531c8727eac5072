"""From a model card to the stages that leave its untuned weights and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.config import plugins
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
    group_by_length: bool = False
    """Whether texts of similar length share a batch; the tokens of short ones would count more."""
    max_length: PositiveInt = 256
    """Maximum number of tokens per text; histories are cut into such texts."""


def find_model_paths(texts: Iterable[str], models: Iterable[str | None] = ()) -> dict[str, Path]:
    """Return the user's own folders by card: of backbones that are used, and of texts `CARD=DIR`.

    Raises:
        BenchError: A text names no card, or one whose weights are not those of the hub.
    """
    paths = {}
    for name in filter(None, models):
        if folder := plugins.model_card(name).folder:
            paths[name.partition(":")[0]] = Path(folder)
    for text in texts:
        name, _, folder = text.partition("=")
        if not folder:
            raise BenchError(
                f"--model-path {text} does not say which backbone the folder has.",
                "Example: --model-path llama-3.2-1b-instruct=/models/llama",
            )
        weights = plugins.model_card(name).weights
        if weights not in ("hub", "folder"):
            raise BenchError(
                f"--model-path is for models of the hub, and {name} is {weights}.",
                "Leave it out, or name another card.",
            )
        paths[name] = Path(folder).absolute()
    return paths


def _check_shape(folder: Path, name: str, card: ModelCard) -> None:
    """Refuse a folder whose config.json contradicts the card: it would be shown as the card's."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        differences = [
            f"{field} {config.get(field)}, not {value}"
            for field, value in card.shape.items()
            if config.get(field) != value
        ]
    except (ValueError, AttributeError) as error:
        raise BenchError(f"{folder / 'config.json'} is not a model's: {error}.") from error
    if differences:
        raise BenchError(
            f"{folder} is not {name}: its config.json has {'; '.join(differences)}.",
            "Name another folder, or give the model a card of its own.",
        )


def language_model(
    name: str,
    card: ModelCard,
    *,
    data: Stage,
    nouns: Nouns,
    lists: Stage | None = None,
    model_paths: Mapping[str, Path] | None = None,
) -> Model:
    """Compose a backbone as plans see it.

    A model built from nothing takes its words from the prepared data and the nouns, and never sees
    users who validate or test in the lists that are to be re-ranked. The user's own folders, by
    card, are used instead of the hub.

    Raises:
        BenchError: The folder contains no model, or another one than the card's.
    """
    card_name = name.partition(":")[0]
    folder = (model_paths or {}).get(card_name)
    return Model(
        name=name,
        backbone=_backbone(card_name, card, data, nouns, lists, folder),
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
    folder: Path | None,
) -> Stage:
    if card.weights == "gguf":
        sha256 = card.files["gguf"].sha256
        assert sha256 is not None
        return Stage(kind="gguf", config=GGUFConfig(name=name, sha256=sha256))
    if card.weights in ("hub", "folder"):
        folder = folder or (Path(card.folder) if card.folder else None)
        if folder is not None:
            checksum = folder_checksum(folder)
            _check_shape(folder, name, card)
            if card.checksum and checksum != card.checksum:
                raise BenchError(
                    f"The files in {folder} are not those of {name}: their checksum differs.",
                    "Name the folder itself (--model DIR), which gives it a card of its own.",
                )
            hub = HubConfig(name=name, checksum=checksum)
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
