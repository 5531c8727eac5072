"""Backbones: from a model card to the stages that write its untuned weights and tokenizer.

A model without a card, `ORG/NAME[@REV]` or a folder, gets one that is inferred and written down in
`.bench/models/` of the working directory, where every command finds it. It pins what was used: the
commit that a branch of the hub was at when it was first named, or the checksum of the folder's
files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.backbone_card import ModelCard
from bench.config.lora import LINEAR_LAYERS
from bench.config.plugins import card_paths
from bench.config.search_path import INFERRED_MODELS
from bench.config.toml import check_card
from bench.data.assets import folder_checksum
from bench.data.hub_files import TEXTS, fetch
from bench.errors import BenchError
from bench.files import write_atomic
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

    The tokenizer of a built model is trained on titles and nouns. Its pretraining leaves out the
    users of validation and test lists. The user's own folders, by card, are used instead of the
    hub.

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


ADAPTERS_FROM = 1e8
"""Models with at least this many parameters get adapters; smaller ones are tuned in full."""
CONTEXT = 512
DIGITS = 8
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")


def name_model(text: str, *, offline: bool = False) -> str:
    """Return the name of the card of a backbone, inferred if it is a folder or a hub's repository.

    The text is the name of a card, a folder, or `ORG/NAME[@REV]` on the hub; each with `:CHANGE,…`.
    A card comes before a folder of its name, and a folder before a repository.

    Raises:
        BenchError: It is no causal language model with a tokenizer, or cannot be fetched.
    """
    base, separator, changes = text.partition(":")
    if base in card_paths("models"):
        return text
    folder = Path(base).expanduser()
    if folder.is_dir():
        name = _card_of_folder(folder.resolve())
    elif HUB_NAME.fullmatch(base) and not base.startswith("."):
        name = _card_of_repository(base, offline=offline)
    elif "/" in base:
        raise BenchError(f"There is no folder {base}.", "Give a model's folder, or ORG/NAME.")
    else:
        return text  # whoever loads the card lists those that exist
    return f"{name}{separator}{changes}"


def _card_of_folder(folder: Path) -> str:
    checksum = folder_checksum(folder)
    name = _slug(f"{folder.name}-{checksum[:DIGITS]}")
    source = {"weights": "folder", "folder": str(folder), "checksum": checksum}
    path = INFERRED_MODELS / f"{name}.toml"
    if not path.is_file() or json.dumps(str(folder)) not in path.read_text():
        _write(path, f"{folder.name} (folder)", source, "not stated", _inspect(folder, str(folder)))
    return name


def _card_of_repository(text: str, *, offline: bool) -> str:
    name, (repository, _, revision) = _slug(text), text.partition("@")
    path = INFERRED_MODELS / f"{name}.toml"
    if not path.is_file():
        folder = fetch(repository, revision or "main", text, offline=offline, patterns=TEXTS)
        source = {"weights": "hub", "repository": repository, "revision": folder.name}
        page = f"https://huggingface.co/{repository}"
        title = f"{repository}@{folder.name[:DIGITS]}"
        _write(path, title, source | {"homepage": page}, f"see {page}", _inspect(folder, text))
    return name


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _inspect(folder: Path, name: str) -> dict[str, Any]:
    # Imported late, with torch: a card's own name should not cost seconds.
    inspect_model = import_module("bench.models.lm.backbone").inspect_model
    return dict(inspect_model(folder, name))


def _write(
    path: Path, title: str, source: dict[str, str], license_: str, metadata: dict[str, Any]
) -> None:
    """Write a card, after checking it."""
    template = "with" if metadata["chat_template"] else "without"
    tuning = "lora" if metadata["parameters"] >= ADAPTERS_FROM else "full"
    card: dict[str, Any] = {
        "title": title,
        "description": f"Inferred: {metadata['architecture']}, {template} a chat template.",
        "license": license_,
        **source,
        "parameters": metadata["parameters"],
        "tuning": tuning,
        "dtype": metadata["dtype"],
        "context": min(CONTEXT, metadata["max_length"] or CONTEXT),
    }
    if tuning == "lora" and not set(LINEAR_LAYERS).issubset(metadata["linear"]):
        card["lora"] = {"targets": metadata["linear"]}
    check_card(card, ModelCard, str(path))
    write_atomic(path, "".join(_toml_lines(card.items())).encode())


def _toml_lines(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in items:  # strings, numbers and lists of strings in JSON are TOML
        if isinstance(value, dict):
            yield f"\n[{key}]\n"
            yield from _toml_lines(value.items())
        else:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
