"""Prepared data and tokenizers for commands about data, made as a run makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.data.prepared import Prepared
    from bench.models.lm.tokenization import Tokenizer
    from bench.plan import Stage


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where stages find and leave things.

    Attributes:
        store: Folder of the artifacts.
        data_dir: The user's own folder.
        offline: Whether the network must not be touched.
    """

    store: Path
    data_dir: Path | None
    offline: bool


def prepare_stage(
    name: str, place: Place, files: Mapping[str, Path] | None = None
) -> tuple[Stage, Prepared]:
    """Return a data set from the store, prepared first where it is not there, and its stage.

    Args:
        name: Its card.
        place: Where.
        files: The user's own files by role, instead of those that the card means.

    Raises:
        BenchError: Where its files cannot be had, or hold no such data.
    """
    from bench.config import plugins
    from bench.data.prepared import read
    from bench.data.user_files import link_files
    from bench.plan import trials

    chosen = link_files(files or {}, plugins.dataset_card(name))
    stage = trials.compose_preparation(name, place.data_dir, chosen)
    return stage, read(_made(stage, place))


def tokenizer_of(model: str, dataset: str, data: Stage, place: Place) -> Tokenizer:
    """Return the tokenizer of a model as plans would use it on a data set.

    A model built from nothing has a tokenizer of the data set's titles; it is not pretrained here.

    Args:
        model: Name of the model's card.
        dataset: Name of the data set's card.
        data: The stage that prepared the data, whose artifact is in the store.
        place: Where.

    Raises:
        BenchError: There is no such card, or its files cannot be had.
    """
    from bench.config import plugins
    from bench.models.lm.backbone import model_folder, read_tokenizer
    from bench.plan.backbones import language_model
    from bench.plan.types import Nouns

    nouns = plugins.dataset_card(dataset).nouns
    named = Nouns(nouns.singular, nouns.plural)
    stage = language_model(model, plugins.model_card(model), data=data, nouns=named).backbone
    if stage.kind == "pretrain":
        stage = stage.inputs["backbone"]
    return read_tokenizer(model_folder(_made(stage, place)))


def _made(stage: Stage, place: Place) -> Path:
    """Make an artifact, unless it is in the store; its inputs must be there."""
    from bench.runner.store import Store
    from bench.runner.worker import materialize_stage

    return materialize_stage(
        stage, Store(place.store), data_dir=place.data_dir, offline=place.offline
    )
