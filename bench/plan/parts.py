"""What stages are put together from: rows, lists, data, models, policies, pairs; and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.plan.stage import Stage
from bench.records import Plain


class Nouns(NamedTuple):
    """What prompts call one item and several, e.g. "movie" and "movies"."""

    singular: str = "item"
    plural: str = "items"


ITEMS = Nouns()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Samples of one split: the prepared data, the stage that draws from it, the items' nouns."""

    data: Stage
    stage: Stage
    nouns: Nouns = ITEMS


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Lists to be re-ranked, of users and items that a language model may be asked about.

    Attributes:
        stage: What makes them.
        domain: What prompts are about: "movie", "book" or "product".
        titles: How prompts write titles: "keep", "fronted" or "cleaned".
        described: Whether items have titles; without any nobody can be asked about them.
    """

    stage: Stage
    domain: str = "product"
    titles: str = "keep"
    described: bool = True


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a method's plan is given of a data set; lists where its card says how to make them."""

    name: str
    train: Rows
    valid: Rows
    test: Rows
    lists: Lists | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model as a plan sees it.

    Attributes:
        name: Its card's.
        backbone: The stage whose artefact is the untuned model with its tokenizer.
        tuning: {"kind": "full"}, or {"kind": "lora"} with rank, alpha, dropout and targets.
        dtype: "float32" or "bfloat16": of the base weights and the arithmetic.
        quantisation: "none", or "nf4" for base weights in 4 bits while training.
        context: Most tokens of prompt and response together.
        threads: CPU threads of every stage that computes with it.
        gpus: Share of a GPU that such a stage asks for where there is one; decides nothing else.
    """

    name: str
    backbone: Stage
    tuning: Mapping[str, Plain]
    dtype: str = "float32"
    quantisation: str = "none"
    context: int = 512
    threads: int = 1
    gpus: float = 1.0

    def __post_init__(self) -> None:
        assert self.tuning["kind"] in ("full", "lora")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A model with tuned weights; without any, the untuned backbone.

    Attributes:
        weights: The stage that trained it last; its artefact holds the adapter, or all weights.
    """

    model: Model
    weights: Stage | None = None


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Preference pairs over samples: the prepared data and the stage that put the pairs together.

    Each pair is a sample, whose target is the chosen response, with one or more rejected ones.
    """

    data: Stage
    stage: Stage
    nouns: Nouns


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a method returns.

    Attributes:
        final: The stage that ends in the ranking which the board shows.
        checkpoints: Further rankings by name, evaluated beside it.
    """

    final: Stage
    checkpoints: Mapping[str, Stage] = field(default_factory=dict)
