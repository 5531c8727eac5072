"""What a claim says of the rows of a board: one class a form, as read from TOML.

Rows, data sets and metrics of a check are lists that are multiplied out into cells. Metrics may be
written with braces, `"{DivRatio,ORRatio}@{1,5}"`, and `{host}` in a row's name stands for each of
the check's hosts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, field_validator, model_validator

from bench.config.toml import Card
from bench.errors import BenchError
from bench.report.claims.measures import higher_is_better, spelled_out
from bench.report.claims.verdict import check_quantifier

Members = Callable[[str], tuple[str, ...]]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _all(names: Iterable[str], members: Members) -> list[str]:
    return [one for name in names for one in members(name)]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Metrics = Annotated[tuple[str, ...], BeforeValidator(spelled_out)]


class Check(Card):
    """What all forms share.

    Attributes:
        metrics: Names of metrics; one cell each.
        datasets: As the paper prints them; all of the paper's by default.
        hosts: Names that `{host}` in the rows stands for.
        quantifier: How many cells must hold: all, most, any, "n of N".
        rivals: How many pairs of a data set, metric and first row make that a cell that holds.
        whole: A single cell refutes it; in print it is never "partly".
        about: What this check adds, where a claim has several.
        printed: Cells that hold in the paper's tables, "6 of 8"; empty where none is printed.
        ties: Cells of the paper's tables where the two are equal.
        unreadable: Cells that the paper's text does not give.
    """

    metrics: Metrics = ()
    datasets: Names = ()
    hosts: Names = ("",)
    quantifier: str = "all"
    rivals: str = ""
    whole: bool = False
    about: str = ""
    printed: str = Field("", pattern=r"^([0-9]+ of [1-9][0-9]*)?$")
    ties: int = 0
    unreadable: int = 0

    @field_validator("quantifier", "rivals")
    @classmethod
    def _is_quantifier(cls, text: str) -> str:
        try:
            return text and check_quantifier(text)
        except BenchError as error:
            raise ValueError(error.message.rstrip(".")) from error

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                higher_is_better(name)
            except BenchError as error:
                raise ValueError(f"{error.message} {error.hint}".rstrip(".")) from error
        return names

    @abstractmethod
    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """List the rows of each cell of one data set and metric, in the order of their roles."""


class Pair(Check):
    """A form about two rows, each of `a` against each of `b`."""

    a: Names
    b: Names

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """Pair every row of `a` with every other one of `b`."""
        first, second = _all(self.a, members), _all(self.b, members)
        return [(a, b) for a in first for b in second if a != b]


class Better(Pair):
    """The first row is strictly better."""

    form: Literal["better"]


class NotBetter(Pair):
    """The first row does not improve on the second, or by at most the share `tau`."""

    form: Literal["not_better"]
    tau: FiniteFloat = Field(0.0, ge=0)


class Close(Pair):
    """The relative difference lies within ± `tau`; with 0 the two are the same number."""

    form: Literal["close"]
    tau: FiniteFloat = Field(0.1, ge=0)


class Gain(Pair):
    """The percent that the first row gains: a quoted `value`, a printed `row`, or `above`."""

    form: Literal["gain"]
    value: FiniteFloat | None = None
    row: str = ""
    above: FiniteFloat | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Gain:
        if (self.value is not None) + bool(self.row) + (self.above is not None) != 1:
            raise ValueError("a gain has one of `value`, `row`, `above`")
        return self

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """Append the line of printed gains, where there is one."""
        return [(*pair, *filter(None, [self.row])) for pair in super().lines(members)]


class Range(Pair):
    """Over the steps of `x` the first row's metric ranges further than the second's."""

    form: Literal["range"]
    x: str


class Position(Check):
    """A form about the place of a row among others."""

    row: Names
    among: Names

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """Put the row first, the others behind it."""
        everyone = _all(self.among, members)
        return [(row, *(one for one in everyone if one != row)) for row in _all(self.row, members)]

    @abstractmethod
    def ranks(self, num_rows: int) -> tuple[int, int]:
        """Return the best and the worst rank that fit, from 1."""


class Best(Position):
    """No row is better."""

    form: Literal["best"]

    def ranks(self, num_rows: int) -> tuple[int, int]:
        """Only the first."""
        return 1, 1


class Worst(Position):
    """No row is worse."""

    form: Literal["worst"]

    def ranks(self, num_rows: int) -> tuple[int, int]:
        """Only the last."""
        return num_rows, num_rows


class Rank(Position):
    """The row is among the first `at_most` rows, or not before rank `at_least`."""

    form: Literal["rank"]
    at_most: int | None = Field(None, ge=1)
    at_least: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_bound(self) -> Rank:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a rank has one of `at_most`, `at_least`")
        return self

    def ranks(self, num_rows: int) -> tuple[int, int]:
        """From the first rank to the bound, or from the bound to the last."""
        return self.at_least or 1, self.at_most or num_rows


class Single(Check):
    """A form about one row at a time."""

    row: Names

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """Each row by itself."""
        return [(row,) for row in _all(self.row, members)]


class Value(Single):
    """A number: `value`, give or take `within`, or bounds."""

    form: Literal["value"]
    value: FiniteFloat | None = None
    within: FiniteFloat | None = Field(None, gt=0)
    above: FiniteFloat | None = None
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Value:
        bounds = [self.above, self.at_least, self.at_most]
        if (self.value is None) == all(bound is None for bound in bounds):
            raise ValueError("a value has either `value` or bounds")
        if self.within is not None and self.value is None:
            raise ValueError("`within` belongs to `value`")
        return self


class Trend(Single):
    """The metric goes up or down with the swept setting `x`."""

    form: Literal["trend"]
    x: str
    direction: Literal["up", "down"]


class Peak(Single):
    """The metric is best where the swept setting `x` is `at`."""

    form: Literal["peak"]
    x: str
    at: FiniteFloat


class Level(Single):
    """Along the swept setting `x` the metric stays within ± `tau` of its value at `at`."""

    form: Literal["level"]
    x: str
    at: FiniteFloat
    tau: FiniteFloat = Field(0.1, gt=0)


class Larger(Check):
    """The difference a - b exceeds c - d, each counted in the metric's better direction.

    Attributes:
        a: One row, as are the next three.
        b: Subtracted from a.
        c: By default a, on the data sets `than_on`.
        d: By default b, likewise.
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

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """The four rows."""
        return [(self.a, self.b, self.c or self.a, self.d or self.b)]


class Evidence(Check):
    """What no table of results can show: a proof, a training log, another measurement."""

    form: Literal["evidence"]
    needs: str

    def lines(self, members: Members) -> list[tuple[str, ...]]:
        """No rows."""
        return []


AnyCheck = Annotated[
    Better | NotBetter | Close | Gain | Range | Best | Worst | Rank | Value | Trend | Peak | Level
    | Larger | Evidence,
    Field(discriminator="form"),
]  # fmt: skip
