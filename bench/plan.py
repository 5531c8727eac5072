"""Stages, their constructors and keys: what a method composes. Nothing here computes.

A stage is one step of a trial's plan. Its key hashes its kind, arguments, input keys and code, so
that equal work has one key however many trials ask for it, and a changed line makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.codehash import function_hash, module_hash
from bench.errors import BenchError
from bench.records import Plain, digest

DEPTH = 100
"""Places of a ranking that are kept: metrics at any k up to this need no second ranking."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One step of a plan.

    Attributes:
        kind: Name of a module in `bench.stages`, whose `run` takes the arguments and inputs.
        args: Plain values.
        inputs: Other stages by argument name; `run` receives the folders of their artefacts.
        functions: References "module:function" among the arguments; their code enters the key.
    """

    kind: str
    args: Mapping[str, Plain] = field(default_factory=dict)
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    functions: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """The first 32 hexadecimal digits of the hash of all that decides the artefact.

        Raises:
            BenchError: Where an argument is no plain value.
        """
        content: dict[str, Plain] = {
            "kind": self.kind,
            "args": self.args,
            "inputs": {name: stage.key for name, stage in self.inputs.items()},
            "code": module_hash(f"bench.stages.{self.kind}"),
            "functions": {name: function_hash(name) for name in self.functions},
        }
        try:
            return digest(content)[:32]
        except (TypeError, ValueError) as error:
            raise BenchError(
                f"The stage {self.kind} has an argument that is no plain value: {error}.",
                "A plan holds numbers, text, lists and mappings of them; NaN is none.",
            ) from error

    @property
    def threads(self) -> int:
        """CPU threads that the stage computes with; an argument, and so part of its key."""
        threads = self.args.get("threads", 1)
        assert isinstance(threads, int)
        return threads


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Samples of one split: the prepared data and the stage that draws from it."""

    data: Stage
    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a method's plan is given of a data set."""

    name: str
    train: Rows
    valid: Rows
    test: Rows


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a method returns.

    Attributes:
        final: The stage that ends in the ranking which the board shows.
        checkpoints: Further rankings by name, evaluated beside it.
    """

    final: Stage
    checkpoints: Mapping[str, Stage] = field(default_factory=dict)


def prepare(*, name: str, card: Mapping[str, Plain], checksums: Mapping[str, Plain]) -> Stage:
    """Read, filter and split a data set; arguments are what decides the prepared data."""
    return Stage(kind="prepare", args={"name": name, "card": card, "checksums": checksums})


def draw(data: Stage, *, split: str, num: int | None, seed: int, strict: bool = False) -> Rows:
    """Draw at most `num` samples of a split without replacement; None takes them all."""
    args: dict[str, Plain] = {"split": split, "num": num, "seed": seed, "strict": strict}
    return Rows(data=data, stage=Stage(kind="draw", args=args, inputs={"data": data}))


def sasrec(
    train: Rows,
    valid: Rows,
    *,
    hidden: int,
    blocks: int,
    heads: int,
    dropout: float,
    position_std: float,
    learning_rate: float,
    weight_decay: float,
    batch: int,
    epochs: int,
    patience: int,
    seed: int,
    threads: int = 1,
) -> Stage:
    """Train SASRec in row form; the artefact holds its weights."""
    return Stage(
        kind="sasrec",
        args={
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
        },
        inputs={"data": train.data, "train": train.stage, "valid": valid.stage},
    )


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
