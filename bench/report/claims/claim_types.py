"""The claim types: what a claim says about rows of a board, one class per type, read from TOML.

Rows, data sets and metrics of a check are lists that are expanded into cells. Metrics may be
written with braces, `"{DivRatio,ORRatio}@{1,5}"`, and `{host}` in a row's name stands for each of
the check's hosts.
"""

from __future__ import annotations

import itertools
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from bench.config.toml import Card, Names
from bench.report.claims.verdict import Quantifier

Groups = Mapping[str, tuple[str, ...]]
"""Rows by the name of a group that stands for them."""

_BRACES = re.compile(r"\{([^{}]*)\}")


def expand_braces(value: Any) -> Any:
    """Expand the braces of a list of metrics that is written as one string.

    Example:
        >>> expand_braces("{HR,NDCG}@5 MGU@1")
        ['HR@5', 'NDCG@5', 'MGU@1']
    """
    if not isinstance(value, str):
        return value
    names = []
    for word in value.split():
        parts = _BRACES.split(word)
        choices = [part.split(",") if odd % 2 else [part] for odd, part in enumerate(parts)]
        names += ["".join(choice) for choice in itertools.product(*choices)]
    return names


def _expand(names: Iterable[str], groups: Groups) -> list[str]:
    return [row for name in names for row in groups.get(name, (name,))]


Metrics = Annotated[tuple[str, ...], BeforeValidator(expand_braces)]


class Check(Card):
    """The fields that all claim types share.

    Attributes:
        metrics: Names of metrics; one cell each.
        datasets: As the paper prints them, or names of our cards; all of the paper's by default.
        hosts: Names that `{host}` in the rows stands for.
        quantifier: How many cells must hold: all, most, any, "n of N".
        rivals: How many pairs of the same data set, metric and first row must hold, so that they
            count as one cell that holds.
        all_or_nothing: A single cell refutes the check; by published numbers it is never "partly".
        about: What this check adds, where a claim has several.
        printed: Cells that hold in the paper's tables, "6 of 8"; empty if none is printed.
        ties: Cells of the paper's tables where the two values are equal.
        unreadable: Cells that are missing in the paper's text.
    """

    metrics: Metrics = ()
    datasets: Names = ()
    hosts: Names = ("",)
    quantifier: Quantifier = "all"
    rivals: Quantifier | None = None
    all_or_nothing: bool = False
    about: str = ""
    printed: str = Field("", pattern=r"^([0-9]+ of [1-9][0-9]*)?$")
    ties: int = 0
    unreadable: int = 0

    @abstractmethod
    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """List the rows of each cell of one data set and metric, in the order of their roles."""


class Pair(Check):
    """A check of two rows, each of `a` against each of `b`."""

    a: Names
    b: Names

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """Pair every row of `a` with every other one of `b`."""
        first, second = _expand(self.a, groups), _expand(self.b, groups)
        return [(a, b) for a in first for b in second if a != b]


class Better(Pair):
    """The first row is strictly better."""

    form: Literal["better"]


class NotBetter(Pair):
    """The first row does not improve on the second, or by at most the fraction `tau`."""

    form: Literal["not_better"]
    tau: FiniteFloat = Field(0.0, ge=0)


class Close(Pair):
    """The relative difference lies within ± `tau`; with 0 the two values are equal."""

    form: Literal["close"]
    tau: FiniteFloat = Field(0.1, ge=0)


class Gain(Pair):
    """The gain of the first row in percent: a quoted `value`, a printed `row`, or `above`."""

    form: Literal["gain"]
    value: FiniteFloat | None = None
    row: str = ""
    above: FiniteFloat | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Gain:
        if (self.value is not None) + bool(self.row) + (self.above is not None) != 1:
            raise ValueError("a gain has one of `value`, `row`, `above`")
        return self

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """Append the row of printed gains, if there is one."""
        return [(*pair, *filter(None, [self.row])) for pair in super().list_rows(groups)]


class Range(Pair):
    """Over the steps of `x` the first row's metric has a larger range than the second's."""

    form: Literal["range"]
    x: str


class Position(Check):
    """A check of the rank of a row among others."""

    row: Names
    among: Names

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """Put the row first, then the others."""
        group = _expand(self.among, groups)
        return [
            (row, *(other for other in group if other != row)) for row in _expand(self.row, groups)
        ]


class Best(Position):
    """No row is better."""

    form: Literal["best"]


class Worst(Position):
    """No row is worse."""

    form: Literal["worst"]


class Rank(Position):
    """The row is among the first `at_most` rows, or at rank `at_least` or later."""

    form: Literal["rank"]
    at_most: int | None = Field(None, ge=1)
    at_least: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_bound(self) -> Rank:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a rank has one of `at_most`, `at_least`")
        return self


def get_rank_range(check: Position, num_rows: int) -> tuple[int, int]:
    """Return the best and the worst rank that are claimed, from 1."""
    if isinstance(check, Rank):
        return check.at_least or 1, check.at_most or num_rows
    rank = 1 if isinstance(check, Best) else num_rows
    return rank, rank


class Single(Check):
    """A check of one row at a time."""

    row: Names

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """List each row alone."""
        return [(row,) for row in _expand(self.row, groups)]


class Value(Single):
    """A number: `value`, within ± `within`, or bounds."""

    form: Literal["value"]
    value: FiniteFloat | None = None
    within: FiniteFloat | None = Field(None, gt=0)
    above: FiniteFloat | None = None
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None

    @model_validator(mode="after")
    def _value_or_bounds(self) -> Value:
        bounds = [self.above, self.at_least, self.at_most]
        if (self.value is None) == all(bound is None for bound in bounds):
            raise ValueError("a value has either `value` or bounds")
        if self.within is not None and self.value is None:
            raise ValueError("`within` belongs to `value`")
        return self


class Trend(Single):
    """The metric increases or decreases with the swept setting `x`."""

    form: Literal["trend"]
    x: str
    direction: Literal["up", "down"]


class Peak(Single):
    """The metric is best where the swept setting `x` is `at`."""

    form: Literal["peak"]
    x: str
    at: FiniteFloat


class Level(Single):
    """Over the swept setting `x` the metric stays within ± `tau` of its value at `at`."""

    form: Literal["level"]
    x: str
    at: FiniteFloat
    tau: FiniteFloat = Field(0.1, gt=0)


class Larger(Check):
    """The difference a - b exceeds c - d, each in the metric's better direction.

    Attributes:
        c: By default a, on the data sets `than_on`; d: by default b, likewise.
        than_on: Data sets of c and d, each a cell; by default that of a and b.
        relative: Compare relative changes.
    """

    form: Literal["larger"]
    a: str
    b: str
    c: str = ""
    d: str = ""
    than_on: Names = ()
    relative: bool = False

    @model_validator(mode="after")
    def _two_differences(self) -> Larger:
        if not ((self.c and self.d) or self.than_on):
            raise ValueError("a second difference needs `c` and `d`, or `than_on`")
        return self

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """List the four rows."""
        return [(self.a, self.b, self.c or self.a, self.d or self.b)]


class Show(Single):
    """The values of rows, where the claim names no threshold."""

    form: Literal["show"]


class Diminishing(Single):
    """After step `at` of `x` the metric gains less per unit of the measure `per` than before."""

    form: Literal["diminishing"]
    x: str
    at: FiniteFloat
    per: str


class Proof(Check):
    """A theorem: no run can show it, a test "tests/FILE.py::NAME" of this project proves it."""

    form: Literal["proof"]
    tests: Names = Field(min_length=1)

    def list_rows(self, groups: Groups) -> list[tuple[str, ...]]:
        """List no rows."""
        return []


SweepCheck = Trend | Peak | Level | Range | Diminishing
AnyCheck = Annotated[
    Better | NotBetter | Close | Gain | Range | Best | Worst | Rank | Value | Trend | Peak | Level
    | Larger | Show | Diminishing | Proof,
    Field(discriminator="form"),
]  # fmt: skip
