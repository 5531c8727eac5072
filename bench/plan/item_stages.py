"""Stages of data and of item-ID models: prepare, draw, sample, train, rank, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.errors import BenchError
from bench.hashing import Plain
from bench.metrics.plugins import plugin_references
from bench.metrics.registry import plugin_metrics
from bench.plan.config import (
    Config,
    FunctionReference,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    function_field,
    plan_field,
)
from bench.plan.stage import SMALL_MODEL_GPUS, Stage
from bench.plan.types import ITEMS, Nouns, Rows

DEPTH = 100
"""Ranks that are stored: metrics at any k up to this need no second ranking."""

DropoutRate = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Config):
    """Config of `prepare_data`: everything that decides the prepared data."""

    name: str
    """Name of the data set's card."""
    card: Mapping[str, Any]
    """The card's `preparation()`."""
    checksums: Mapping[str, str | None]
    """sha256 of the raw files by role; None where neither the card nor a local file tells it."""


def prepare_data(config: PrepareConfig) -> Stage:
    """Read, filter and split a data set."""
    return Stage(kind="prepare", config=config)


@dataclass(frozen=True, kw_only=True)
class DrawConfig(Config):
    """Config of `draw_rows`."""

    split: Literal["train", "valid", "test"]
    """Split to draw from."""
    num: PositiveInt | None
    """Maximum number of samples; None takes all."""
    seed: int
    """Decides which ones."""
    strict: bool = False
    """Whether a split with fewer samples is refused."""


def draw_rows(
    data: Stage, config: DrawConfig, *, nouns: Nouns = ITEMS, group_titles: bool = True
) -> Rows:
    """Draw samples of a split without replacement."""
    stage = Stage(kind="draw", config=config, inputs={"data": data})
    return Rows(data=data, stage=stage, nouns=nouns, group_titles=group_titles)


@dataclass(frozen=True, kw_only=True)
class ReorderConfig(Config):
    """Config of `reorder_histories`."""

    within: Literal["ties", "all"]
    """What is shuffled in a test history: items of the same timestamp, or all items."""
    seed: int
    """Decides the order."""


def reorder_histories(cases: Rows, config: ReorderConfig) -> Rows:
    """Shuffle the histories of test cases; training and validation samples stay as they are."""
    stage = Stage(kind="reorder", config=config, inputs={"data": cases.data})
    return replace(cases, data=stage)


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Config):
    """Config of `sample_rows`."""

    num: PositiveInt
    """Maximum number of rows."""
    seed: int
    """Decides which ones, and their order."""


def sample_rows(rows: Rows, num: int, *, seed: int) -> Rows:
    """Draw at most `num` of some rows without replacement, in random order.

    A smaller number with the same seed gives the first rows of the larger sample.
    """
    config = SampleConfig(num=num, seed=seed)
    stage = Stage(kind="sample", config=config, inputs={"rows": rows.stage})
    return replace(rows, stage=stage)


@dataclass(frozen=True, kw_only=True)
class ItemModelConfig(Config):
    """Hyperparameters of the item-ID models; defaults are those of the public baseline code."""

    form: Literal["row", "sequence"] = "row"
    """What is trained on: the sampled rows, each with its next item, as LLMs are; or all prefixes
    of the sequences that the rows make up, as in the models' own papers."""
    loss: Literal["bce", "cross-entropy"] = "bce"
    """Binary, with one uniform negative per target ("bce"), or over the whole catalog."""
    hidden_size: PositiveInt = 64
    """Width of item embeddings and hidden states."""
    num_layers: PositiveInt = 1
    """Self-attention blocks or recurrent layers."""
    dropout: DropoutRate = 0.1
    """Dropout probability."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of Adam."""
    weight_decay: NonNegativeFloat = 1e-5
    """Multiple of each weight that is added to its gradient."""
    batch_size: PositiveInt = 1024
    """Training rows, or pieces of sequences, per optimizer step."""
    num_train_epochs: PositiveInt = 200
    """Maximum number of epochs."""
    patience: PositiveInt = 20
    """Epochs without a better validation NDCG@20 before training stops."""
    threads: PositiveInt = 1
    """CPU threads."""
    seed: int = plan_field(0)
    """Decides initial weights, order, negatives and dropout."""


@dataclass(frozen=True, kw_only=True)
class SASRecConfig(ItemModelConfig):
    """Config of `train_sasrec`."""

    num_heads: PositiveInt = 1
    """Attention heads per block; must divide `hidden_size`."""
    position_std: NonNegativeFloat = 1.0
    """Standard deviation of the initial position embeddings; that of items is 0.01.

    The public code of DROS and its successors uses 1. Trained on 2,048 rows of ML-100K, such a
    network ranks the same one or two items first for everybody, as in SPRec's Table 1; with 0.01,
    hundreds of different ones. On all rows 1 is better.
    """

    def __post_init__(self) -> None:
        """Refuse heads that do not divide the hidden size."""
        super().__post_init__()
        if self.hidden_size % self.num_heads:
            raise BenchError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}.",
                "Change one of them.",
            )


@dataclass(frozen=True, kw_only=True)
class GRU4RecConfig(ItemModelConfig):
    """Config of `train_gru4rec`."""


def train_sasrec(
    train: Rows, valid: Rows, config: SASRecConfig = SASRecConfig(), *, seed: int
) -> Stage:
    """Train SASRec; the artifact holds its weights."""
    return _train_item_model("sasrec", train, valid, config, seed)


def train_gru4rec(
    train: Rows, valid: Rows, config: GRU4RecConfig = GRU4RecConfig(), *, seed: int
) -> Stage:
    """Train GRU4Rec; the artifact holds its weights."""
    return _train_item_model("gru4rec", train, valid, config, seed)


def _train_item_model(
    kind: str, train: Rows, valid: Rows, config: ItemModelConfig, seed: int
) -> Stage:
    inputs = {"data": train.data, "train": train.stage, "valid": valid.stage}
    config = replace(config, seed=seed)
    return Stage(kind=kind, config=config, inputs=inputs, gpus=SMALL_MODEL_GPUS)


ITEM_MODEL_SCORER = "bench.models.seqrec.checkpoint:load_scorer"


@dataclass(frozen=True, kw_only=True)
class RankConfig(Config):
    """Config of `rank`."""

    scorer: FunctionReference = function_field(setting=False)
    """Function that returns the scoring function."""
    settings: Mapping[str, Any]
    """Its keyword arguments."""
    depth: PositiveInt
    """Ranks to store."""
    threads: PositiveInt
    """CPU threads."""


def rank(
    cases: Rows,
    *,
    scorer: str = ITEM_MODEL_SCORER,
    train: Rows | None = None,
    model: Stage | None = None,
    settings: Mapping[str, Plain] | None = None,
    depth: int = DEPTH,
    threads: int = 1,
) -> Stage:
    """Score the whole catalog for every test case and store the best `depth` items.

    Args:
        cases: The samples to rank for; the scorer sees their histories, never their targets.
        scorer: "module:function" of a method's own module, or of `bench`; by default that of the
            item-ID models. It is called once as `function(source, catalog, **settings)`, where
            `source` is the training windows or the folder of the trained model, and returns a
            function from histories (C, H) to scores (C, items), higher is better.
        train: Samples to fit on; exactly one of `train` and `model` is required.
        model: A trained model.
        settings: Keyword arguments of the scorer.
        depth: Ranks to store, at most the size of the catalog.
        threads: CPU threads of the scorer.
    """
    assert (train is None) != (model is None), "rank() takes either train or model"
    inputs = cases.ranking_inputs
    if train is not None:
        inputs["train"] = train.stage
    if model is not None:
        inputs["model"] = model
    config = RankConfig(scorer=scorer, settings=settings or {}, depth=depth, threads=threads)
    gpus = SMALL_MODEL_GPUS if scorer == ITEM_MODEL_SCORER else 0.0
    return Stage(kind="rank", config=config, inputs=inputs, gpus=gpus)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Config of `evaluate`."""

    ks: tuple[PositiveInt, ...]
    """Cut-offs at which every metric is computed."""
    group_titles: bool
    """Whether items of one title count as one."""
    exclude_seen: bool = plan_field(False)
    """Whether the items of a case's own history are removed from its list first."""
    plugins: tuple[str, ...] = function_field((), setting=False)
    """References to plug-in metrics."""


def evaluate(
    ranking: Stage, cases: Rows, *, ks: Sequence[int], exclude_seen: bool = False
) -> Stage:
    """Compute every metric of a ranking at every k, and its value per test case."""
    return Stage(
        kind="evaluate",
        config=EvaluateConfig(
            ks=tuple(ks),
            group_titles=cases.group_titles,
            exclude_seen=exclude_seen,
            plugins=plugin_references(plugin_metrics()),
        ),
        inputs={"data": cases.data, "cases": cases.stage, "ranking": ranking},
    )
