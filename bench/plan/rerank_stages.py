"""Stages of re-ranking: make candidate lists, order them, train a re-ranker, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from bench.config.cards import DatasetCard, Rows
from bench.data.assets import checksums, local_file
from bench.data.kar import Rules
from bench.errors import BenchError
from bench.hashing import Plain
from bench.metrics.plugins import plugin_references
from bench.metrics.registry import plugin_metrics
from bench.plan.config import (
    Config,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    function_field,
    plan_field,
)
from bench.plan.stage import SMALL_MODEL_GPUS, Stage
from bench.plan.types import Data, ListData

PARTS = ("train", "valid", "test")
LIST_KS = (1, 3, 5, 7, 10)
LENGTH = 10

Backbone: TypeAlias = Literal["dlcm", "prm", "setrank"]
SetRankLoss: TypeAlias = Literal["kar_offset", "kar", "softmax"]
TrainingText: TypeAlias = Literal["sampled", "first"]
ScoringText: TypeAlias = Literal["first", "mean"]


@dataclass(frozen=True, kw_only=True)
class CandidateListsConfig(Config):
    """Config of `make_candidate_lists`: everything that decides KAR's lists of a data set."""

    name: str
    """Name of the data set's card."""
    reader: str
    """The card's reader."""
    fields: Mapping[str, Any]
    """The reader's options."""
    checksums: Mapping[str, str | None]
    """sha256 of the raw files by role; None if unknown before the run. A role "users" adds
    profiles; without "items" there are neither titles nor attributes."""
    rules: Rules
    """KAR's rules."""
    category_indices: tuple[int, ...] = (0,)
    """Indices of the categories that are attributes of an item (ML-1M 0, Amazon 1)."""
    brand: bool = False
    """Whether the brand is the first attribute (Amazon)."""
    max_users: Mapping[str, int | None]
    """Maximum number of users per part, each with all lists; None for all."""
    valid_fraction: Fraction = 0.1
    """Fraction of KAR's training users that is held out for validation."""
    seed: int = 0
    """Decides which users are held out, and which are kept."""


def make_candidate_lists(config: CandidateListsConfig) -> Stage:
    """Make KAR's candidate lists of a data set from its raw files."""
    return Stage(kind="lists", config=config)


@dataclass(frozen=True, kw_only=True)
class ListOrderConfig(Config):
    """Config of `order_lists`."""

    by: Literal["given", "popularity", "oracle"] = "popularity"
    """"given" keeps the shuffled list, a random order; "popularity" counts interactions of users
    outside the test part; "oracle" puts the positives first."""


def order_lists(lists: ListData, config: ListOrderConfig) -> Stage:
    """Score the validation and test lists without training."""
    return Stage(kind="order_lists", config=config, inputs={"lists": lists.stage})


@dataclass(frozen=True, kw_only=True)
class RerankerConfig(Config):
    """Config of `rerank_lists`; defaults are the center of KAR's grid."""

    backbone: Backbone = "prm"
    """Network that scores the list."""
    learning_rate: PositiveFloat = 1e-3
    """Constant learning rate of AdamW."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of AdamW; biases are not decayed."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Lists per optimizer step; a last batch of one list joins the one before it."""
    num_train_epochs: PositiveInt = 50
    """Maximum number of epochs."""
    patience: PositiveInt = 3
    """Epochs without a better MAP@5 before training stops."""
    select_on: Literal["valid", "test"] = "valid"
    """Lists that select the epoch. "test" is KAR as published: it trains on the validation users
    as well and selects on the test lists."""
    setrank_loss: SetRankLoss = "kar_offset"
    """Loss of SetRank: attention rank as in KAR ("kar", which may get stuck without a gradient),
    the same with an offset, or the softmax of the paper."""
    setrank_temperature: PositiveFloat = 0.5
    """Temperature of SetRank's attention rank."""
    num_shared_experts: PositiveInt = 2
    """Adapter experts that both kinds of texts share."""
    num_dedicated_experts: PositiveInt = 5
    """Adapter experts of each kind of text."""
    training_text: TrainingText = "sampled"
    """Which of several texts per user training reads: one sampled per list and epoch, or the
    first."""
    scoring_text: ScoringText = "first"
    """Which text scoring reads: the first, or the mean of all vectors."""
    shuffle_user_texts: bool = False
    """Whether every user gets the texts of another user, to check that the texts matter."""
    max_empty_fraction: Fraction = 0.005
    """Maximum fraction of users, and of items, whose generated text may be empty."""
    threads: PositiveInt = 1
    """CPU threads."""
    seed: int = plan_field(0)
    """Decides initial weights, order and sampled texts."""

    def __post_init__(self) -> None:
        """Refuse settings of another backbone."""
        super().__post_init__()
        if self.backbone != "setrank" and reset_fields(self, SETRANK_FIELDS) != self:
            raise BenchError(
                f"setrank_loss and setrank_temperature have no effect on {self.backbone}.",
                "Leave them out, or set backbone to setrank.",
            )


SETRANK_FIELDS = ("setrank_loss", "setrank_temperature")
GRID_FIELDS = ("learning_rate", "weight_decay", "batch_size")
RERANKER_SPACE: Mapping[str, Plain] = {
    "reranker.batch_size": {"choice": [64, 128, 256, 512]},
    "reranker.learning_rate": {"choice": [5e-4, 1e-3]},
    "reranker.weight_decay": {"choice": [0.0, 1e-4, 1e-3]},
}
"""The search space of every method that trains a re-ranker."""
TEXT_FIELDS = (
    *("num_shared_experts", "num_dedicated_experts", "training_text", "scoring_text"),
    "shuffle_user_texts",
)


def reset_fields(config: RerankerConfig, names: Sequence[str]) -> RerankerConfig:
    """Return the config with some fields at their defaults."""
    defaults: dict[str, Any] = {field.name: field.default for field in fields(config)}
    changes = {name: defaults[name] for name in names if getattr(config, name) != defaults[name]}
    return replace(config, **changes) if changes else config


def rerank_lists(
    lists: ListData,
    config: RerankerConfig,
    *,
    seed: int,
    users: Stage | None = None,
    items: Stage | None = None,
) -> Stage:
    """Train a re-ranker and score validation and test lists; the artifact has scores and weights.

    Users and items are vectors of texts about them. The seed decides initial weights, order and
    sampled texts.

    Raises:
        BenchError: A setting of texts is set, and there are no such texts.
    """
    if config.shuffle_user_texts and users is None:
        raise BenchError("shuffle_user_texts needs texts about users.", "Leave it out.")
    if users is None and items is None:
        if reset_fields(config, TEXT_FIELDS) != config:
            raise BenchError(
                f"{', '.join(TEXT_FIELDS)} have no effect without texts.", "Leave them out."
            )
        # A budget sets it for all methods, and equal work has equal keys.
        config = reset_fields(config, ("max_empty_fraction",))
    inputs = {"lists": lists.stage, "users": users, "items": items}
    return Stage(
        kind="rerank",
        config=replace(config, seed=seed),
        inputs={name: stage for name, stage in inputs.items() if stage is not None},
        gpus=SMALL_MODEL_GPUS,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateListsConfig(Config):
    """Config of `evaluate_lists`."""

    ks: tuple[PositiveInt, ...]
    """Cut-offs at which every metric is computed."""
    part: Literal["valid", "test"]
    """Users whose lists are evaluated."""
    plugins: tuple[str, ...] = function_field((), setting=False)
    """References to plug-in metrics."""


def evaluate_lists(scores: Stage, lists: ListData, *, ks: Sequence[int]) -> Stage:
    """Compute the metrics of re-ranked lists at every k, and their values per list.

    Cut-offs above the list length are dropped, KAR's are always added.
    """
    valid_ks = sorted({*LIST_KS, *(k for k in ks if k <= LENGTH)})
    return Stage(
        kind="evaluate_lists",
        config=EvaluateListsConfig(
            ks=tuple(valid_ks),
            part=lists.part,
            plugins=plugin_references(plugin_metrics()),
        ),
        inputs={"lists": lists.stage, "scores": scores},
    )


def require_lists(data: Data, *, described: bool = False) -> ListData:
    """Return the candidate lists of a data set; `described` requires titles for language models.

    Raises:
        BenchError: Its card does not define lists, or items have no titles.
    """
    if data.lists is None:
        raise BenchError(
            f"{data.name} has no candidate lists to re-rank.", "Add [lists] to its card."
        )
    if described and not data.lists.described:
        raise BenchError(
            f"not run: the items of {data.name} have no titles, because its metadata file is "
            "missing.",
            "Add the file to --data-dir.",
        )
    return data.lists


CONSEQUENCES = {
    "users": "prompts contain no user profiles",
    "items": "items have neither titles nor attributes, so no language model can describe them",
}


def list_data(
    name: str,
    card: DatasetCard,
    *,
    rows: Rows,
    data_seed: int,
    data_dir: Path | None,
    files: Mapping[str, str] | None = None,
) -> tuple[ListData | None, tuple[str, ...]]:
    """Compose the candidate lists of a data set, with notes on missing optional files.

    A file that the card calls optional is left out if only such files are missing locally; if
    others are missing as well, all are downloaded. `rows` limits the users per part; the seed
    decides which ones validate, and which are kept.
    """
    rules = card.lists
    if rules is None:
        return None, ()
    with_list_files = card.model_copy(update={"files": {**card.files, **rules.files}})
    file_checksums = checksums(with_list_files, data_dir, files)
    missing = {
        role
        for role, file in with_list_files.files.items()
        if role not in (files or {}) and local_file(file, data_dir) is None
    }
    left_out = sorted(missing) if missing <= set(rules.optional) else []
    for role in left_out:
        del file_checksums[role]
    config = CandidateListsConfig(
        name=name,
        reader=card.reader,
        fields=card.fields,
        checksums=file_checksums,
        rules=Rules(**{field.name: getattr(rules, field.name) for field in fields(Rules)}),
        category_indices=rules.category_places,
        brand=rules.brand,
        max_users=rows.model_dump(),
        seed=data_seed,
    )
    notes = tuple(
        f"{name}: {with_list_files.files[role].name} not found locally; {CONSEQUENCES[role]}."
        for role in left_out
    )
    lists = ListData(
        stage=make_candidate_lists(config),
        domain=rules.domain,
        titles=rules.titles,
        described="items" in file_checksums or not card.files,
    )
    return lists, notes
