"""Stages of data and of item-ID models: prepare, draw, sample, train, rank, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.hashing import Plain
from bench.metrics.plugins import plugin_references
from bench.metrics.registry import plugin_metrics
from bench.plan.config import Config, PositiveInt, function_field
from bench.plan.stage import Stage
from bench.plan.types import ITEMS, Nouns, Rows

DEPTH = 100
"""Ranks that are stored: metrics at any k up to this need no second ranking."""


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


def draw_rows(data: Stage, config: DrawConfig, *, nouns: Nouns = ITEMS) -> Rows:
    """Draw samples of a split without replacement."""
    return Rows(
        data=data, stage=Stage(kind="draw", config=config, inputs={"data": data}), nouns=nouns
    )


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
    return Rows(data=rows.data, stage=stage, nouns=rows.nouns)


def sasrec(
    train: Rows,
    valid: Rows,
    *,
    seed: int,
    hidden: int = 64,
    blocks: int = 1,
    heads: int = 1,
    dropout: float = 0.1,
    position_std: float = 1.0,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    batch: int = 1024,
    epochs: int = 200,
    patience: int = 20,
    threads: int = 1,
) -> Stage:
    """Train SASRec in row form; the artifact holds its weights. Defaults are the peer code's."""
    args: dict[str, Plain] = {
        "hidden": hidden,
        "blocks": blocks,
        "heads": heads,
        "dropout": dropout,
        "position_std": position_std,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch": batch,
        "epochs": epochs,
        "patience": patience,
        "seed": seed,
        "threads": threads,
    }
    inputs = {"data": train.data, "train": train.stage, "valid": valid.stage}
    return Stage(kind="sasrec", args=args, inputs=inputs)


def gru4rec(
    train: Rows,
    valid: Rows,
    *,
    seed: int,
    hidden: int = 64,
    layers: int = 1,
    dropout: float = 0.1,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    batch: int = 1024,
    epochs: int = 200,
    patience: int = 20,
    threads: int = 1,
) -> Stage:
    """Train GRU4Rec in row form; the artifact holds its weights."""
    args: dict[str, Plain] = {
        "hidden": hidden,
        "layers": layers,
        "dropout": dropout,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch": batch,
        "epochs": epochs,
        "patience": patience,
        "seed": seed,
        "threads": threads,
    }
    inputs = {"data": train.data, "train": train.stage, "valid": valid.stage}
    return Stage(kind="gru4rec", args=args, inputs=inputs)


def rank(
    cases: Rows,
    *,
    scorer: str,
    train: Rows | None = None,
    model: Stage | None = None,
    settings: Mapping[str, Plain] | None = None,
    depth: int = DEPTH,
    threads: int = 1,
) -> Stage:
    """Score the whole catalog for every case and keep the best `depth` items.

    Args:
        cases: The samples to rank for; the scorer sees their histories, never their targets.
        scorer: "module:function" of a method's own module, or of one of ours. The function is
            called once as `function(source, catalog, **settings)`, where `source` is the training
            windows or the folder of the trained model, and returns a function from histories
            (C, H) to scores (C, items), higher is better.
        train: Samples to fit on; exactly one of `train` and `model` is given.
        model: A trained model.
        settings: Keyword arguments of the scorer.
        depth: Places kept, at most the size of the catalog.
        threads: CPU threads of the scorer.
    """
    assert (train is None) != (model is None), "rank() takes either train or model"
    inputs = {"data": cases.data, "cases": cases.stage}
    if train is not None:
        inputs["train"] = train.stage
    if model is not None:
        inputs["model"] = model
    args: dict[str, Plain] = {
        "scorer": scorer,
        "settings": dict(settings or {}),
        "depth": depth,
        "threads": threads,
    }
    return Stage(kind="rank", args=args, inputs=inputs, functions=(scorer,))


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Config of `evaluate`."""

    ks: tuple[PositiveInt, ...]
    """Cut-offs at which every metric is computed."""
    plugins: tuple[str, ...] = function_field((), setting=False)
    """References to plug-in metrics."""


def evaluate(ranking: Stage, cases: Rows, *, ks: Sequence[int]) -> Stage:
    """Compute every metric of a ranking at every k, and its value per test case."""
    return Stage(
        kind="evaluate",
        config=EvaluateConfig(ks=tuple(ks), plugins=plugin_references(plugin_metrics())),
        inputs={"data": cases.data, "cases": cases.stage, "ranking": ranking},
    )
