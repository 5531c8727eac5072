"""Stages of data and of item-ID models: prepare, draw, sample, train, rank, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.hashing import Plain
from bench.metrics.plugins import plugin_arguments
from bench.metrics.registry import plugin_metrics
from bench.plan.stage import Stage
from bench.plan.types import ITEMS, Nouns, Rows

DEPTH = 100
"""Places of a ranking that are kept: metrics at any k up to this need no second ranking."""


def prepare(*, name: str, card: Mapping[str, Plain], checksums: Mapping[str, Plain]) -> Stage:
    """Read, filter and split a data set; arguments are what decides the prepared data."""
    return Stage(kind="prepare", args={"name": name, "card": card, "checksums": checksums})


def draw(
    data: Stage,
    *,
    split: str,
    num: int | None,
    seed: int,
    strict: bool = False,
    nouns: Nouns = ITEMS,
) -> Rows:
    """Draw at most `num` samples of a split without replacement; None takes them all."""
    args: dict[str, Plain] = {"split": split, "num": num, "seed": seed, "strict": strict}
    return Rows(data=data, stage=Stage(kind="draw", args=args, inputs={"data": data}), nouns=nouns)


def sample(rows: Rows, num: int, *, seed: int) -> Rows:
    """Draw at most `num` of some rows without replacement, in the order drawn.

    A smaller number with the same seed gives the first rows of the larger draw.
    """
    stage = Stage(kind="sample", args={"num": num, "seed": seed}, inputs={"rows": rows.stage})
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


def evaluate(ranking: Stage, cases: Rows, *, ks: Sequence[int]) -> Stage:
    """Compute every metric at every k of a ranking, with its per-case values."""
    args, functions = plugin_arguments(plugin_metrics())
    return Stage(
        kind="evaluate",
        args={"ks": list(ks), **args},
        inputs={"data": cases.data, "cases": cases.stage, "ranking": ranking},
        functions=functions,
    )
