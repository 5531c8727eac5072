"""Prepared data sets and tokenizers outside a run, computed as a run computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import plugins
from bench.config.cards import RawFile
from bench.config.request import DataOptions
from bench.data import verification
from bench.data.assets import local_file
from bench.data.prepared import Prepared, read
from bench.data.user_files import link_files, parse_files
from bench.errors import BenchError, mask_secrets
from bench.plan import trials
from bench.plan.backbones import find_model_paths, language_model, name_model
from bench.plan.stage import Stage
from bench.plan.types import Model, Nouns
from bench.runner.store import Store
from bench.runner.worker import materialize_stage

if TYPE_CHECKING:
    from bench.data.verification import DataCheck
    from bench.models.lm.tokenization import Tokenizer


def prepare(names: Sequence[str], options: DataOptions | None = None) -> dict[str, Prepared]:
    """Read, filter and split data sets; what is stored is not computed again.

    Raises:
        BenchError: If raw files are missing or do not contain such data.
    """
    prepared = prepare_datasets(names, options or DataOptions())
    return {name: data for name, (_, data) in prepared.items()}


def verify(names: Sequence[str], options: DataOptions | None = None) -> dict[str, list[DataCheck]]:
    """Check prepared data sets against their expected counts and for leaks.

    Raises:
        BenchError: If raw files are missing or do not contain such data.
    """
    return {
        name: verification.verify(data, plugins.dataset_card(name))
        for name, data in prepare(names, options).items()
    }


def prepare_datasets(
    names: Sequence[str], options: DataOptions
) -> dict[str, tuple[Stage, Prepared]]:
    """Return data sets with the stages that prepare them; see `prepare`."""
    paths = parse_files(options.files, list(dict.fromkeys(names)))
    return {name: _prepare(name, options, files) for name, files in paths.items()}


def _prepare(name: str, options: DataOptions, files: Mapping[str, Path]) -> tuple[Stage, Prepared]:
    checksums = link_files(files, plugins.dataset_card(name))
    stage = trials.compose_preparation(name, options.data_dir, checksums)
    return stage, read(materialize(stage, options))


def compose_backbone(model: str, dataset: str, data: Stage, options: DataOptions) -> Model:
    """Compose a backbone, which may have no card yet, as plans on a data set do."""
    name, nouns = name_model(model, offline=options.offline), plugins.dataset_card(dataset).nouns
    words = Nouns(nouns.singular, nouns.plural)
    return language_model(name, plugins.model_card(name), data=data, nouns=words)


def load_tokenizer(model: str, dataset: str, data: Stage, options: DataOptions) -> Tokenizer:
    """Load the tokenizer that plans with this model use on a data set.

    The tokenizer of a model that is built here is trained on the data set's titles, of the stage
    `data`; the model is not pre-trained.

    Raises:
        BenchError: If there is no such card, or its files are missing.
    """
    from bench.models.lm.backbone import model_folder, read_tokenizer

    composed = compose_backbone(model, dataset, data, options)
    stage = composed.backbone
    if stage.kind == "pretrain":
        stage = stage.inputs["backbone"]
    return read_tokenizer(model_folder(materialize(stage, options, composed.name)))


def count_title_tokens(
    model: str, dataset: str, prepared: tuple[Stage, Prepared], options: DataOptions
) -> dict[str, Any]:
    """Count the tokens of a data set's titles; see `load_tokenizer` for the arguments."""
    from bench.models.lm.train.information_gain import count_tokens

    stage, data = prepared
    return count_tokens(data, load_tokenizer(model, dataset, stage, options))


def count_dataset(
    name: str, options: DataOptions, model: str | None = None
) -> Mapping[str, float] | str:
    """Count a data set and the tokens of a backbone, or name the raw files that are missing.

    Raises:
        BenchError: If all raw files are available locally and cannot be used.
    """
    try:
        prepared = prepare_datasets([name], options)[name]
    except BenchError:
        files = plugins.dataset_card(name).files.values()
        missing = [file for file in files if local_file(file, options.data_dir) is None]
        if not missing:
            raise
        return "; ".join(_describe_file(file) for file in missing)
    counts = prepared[1].counts
    if model is None:
        return counts
    tokens = count_title_tokens(model, name, prepared, options)
    return {
        **counts,
        "target tokens": tokens["target_tokens"],
        "zero-gain tokens": tokens["zero_gain_tokens"],
        "zero-gain tokens, %": round(100 * tokens["zero_gain_share"], 2),
    }


def _describe_file(file: RawFile) -> str:
    source = next(iter(file.sources), None)
    address = (source.url or source.wheel) if source else "no address is known"
    return mask_secrets(f"file {file.name}, {address}")


def materialize(stage: Stage, options: DataOptions, model: str | None = None) -> Path:
    """Compute an artifact and its inputs, as far as they are not stored; `model` is a backbone."""
    for source in stage.inputs.values():
        materialize(source, options, model)
    return materialize_stage(
        stage,
        Store(options.store),
        data_dir=options.data_dir,
        model_paths=find_model_paths((), [model]),
        offline=options.offline,
    )
