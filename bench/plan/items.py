"""Stages of data and of item-ID models: prepare, draw, sample, train, rank, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.errors import BenchError
from bench.plan.parts import ITEMS, Nouns, Rows, require_at_least, require_positive
from bench.plan.stage import Stage
from bench.records import Plain

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


@dataclass(frozen=True, kw_only=True)
class ItemModelConfig:
    """Hyperparameters shared by the item-ID models; defaults are those of the public baseline code.

    Raises:
        BenchError: A value is out of range.
    """

    hidden_size: int = 64
    """Width of item embeddings and hidden states, at least 1."""
    num_layers: int = 1
    """Self-attention blocks or recurrent layers, at least 1."""
    dropout: float = 0.1
    """Dropout probability, from 0, below 1."""
    learning_rate: float = 1e-3
    """Learning rate of Adam, above 0."""
    weight_decay: float = 1e-5
    """Multiple of each weight that is added to its gradient, at least 0."""
    batch_size: int = 1024
    """Training rows per optimizer step, at least 1."""
    num_train_epochs: int = 200
    """Maximum number of epochs, at least 1."""
    patience: int = 20
    """Epochs without a better validation NDCG@20 before training stops, at least 1."""
    threads: int = 1
    """CPU threads, at least 1."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden_size", "num_layers", "batch_size", "num_train_epochs")
        require_at_least(self, 1, "patience", "threads")
        require_at_least(self, 0, "dropout", "weight_decay")
        require_positive(self, "learning_rate")
        if self.dropout >= 1:
            raise BenchError(f"dropout is {self.dropout}.", "Set a probability below 1.")


@dataclass(frozen=True, kw_only=True)
class SASRecConfig(ItemModelConfig):
    """Hyperparameters of SASRec.

    Raises:
        BenchError: A value is out of range, or the heads do not divide the hidden size.
    """

    num_heads: int = 1
    """Attention heads per block; must divide `hidden_size`."""
    position_std: float = 1.0
    """Standard deviation of the initial position embeddings (that of items is 0.01).

    Public code of the DROS line uses 1. From 2,048 rows of ML-100K such a network recommends one or
    two items first to everybody, as in SPRec's Table 1, and hundreds of different items with 0.01;
    on all rows 1 is better.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "num_heads")
        require_at_least(self, 0, "position_std")
        if self.hidden_size % self.num_heads:
            raise BenchError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}.",
                "Change one of them.",
            )


@dataclass(frozen=True, kw_only=True)
class GRU4RecConfig(ItemModelConfig):
    """Hyperparameters of GRU4Rec."""


def train_sasrec(
    train: Rows, valid: Rows, config: SASRecConfig = SASRecConfig(), *, seed: int
) -> Stage:
    """Train SASRec in row form; the artifact holds its weights."""
    return _train_item_model("sasrec", train, valid, config, seed)


def train_gru4rec(
    train: Rows, valid: Rows, config: GRU4RecConfig = GRU4RecConfig(), *, seed: int
) -> Stage:
    """Train GRU4Rec in row form; the artifact holds its weights."""
    return _train_item_model("gru4rec", train, valid, config, seed)


def _train_item_model(
    kind: str, train: Rows, valid: Rows, config: ItemModelConfig, seed: int
) -> Stage:
    inputs = {"data": train.data, "train": train.stage, "valid": valid.stage}
    return Stage(kind=kind, args={**asdict(config), "seed": seed}, inputs=inputs)


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
    """Score the whole catalogue for every case and keep the best `depth` items.

    Args:
        cases: The samples to rank for; the scorer sees their histories, never their targets.
        scorer: "module:function" of a method's own module, or of one of ours. The function is
            called once as `function(source, catalogue, **settings)`, where `source` is the training
            windows or the folder of the trained model, and returns a function from histories
            (C, H) to scores (C, items), higher is better.
        train: Samples to fit on; exactly one of `train` and `model` is given.
        model: A trained model.
        settings: Keyword arguments of the scorer.
        depth: Places kept, at most the size of the catalogue.
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
    return Stage(
        kind="evaluate",
        args={"ks": list(ks)},
        inputs={"data": cases.data, "cases": cases.stage, "ranking": ranking},
    )
