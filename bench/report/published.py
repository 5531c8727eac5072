"""The numbers that the papers print, from `leaderboards/published/*.csv`.

One line a number: paper, table, dataset, method, variant, metric, value. What a table leaves blank,
or what could not be read, has no line: asking for it is an error, never a zero.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import field_validator

from bench.config import search_path
from bench.config.toml import Card, check_card
from bench.errors import BenchError, unknown

FOLDER = "published"


class Line(Card):
    """One line of a file, as text."""

    paper: str
    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    value: str

    @field_validator("value")
    @classmethod
    def _is_a_number(cls, value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError("the value is no finite number")
        return value


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a number stands; `dataset`, `method` and `variant` are "" where the table has none."""

    paper: str
    table: str
    dataset: str = ""
    method: str = ""
    variant: str = ""
    metric: str

    @property
    def text(self) -> str:
        """The place in words, for errors."""
        line = " ".join(part for part in (self.method, self.variant) if part)
        parts = [f"{self.paper} table {self.table}", line, self.dataset, self.metric]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A printed number.

    Attributes:
        value: In the metric's unit as printed: percentages stay percentages.
        half_unit: Half a unit of the last printed digit; the true value lies within it.
    """

    value: float
    half_unit: float

    @classmethod
    def read(cls, text: str) -> Number:
        """Read a decimal number; its digits say how far it was rounded.

        Example:
            >>> Number.read("0.25")
            Number(value=0.25, half_unit=0.005)
        """
        return cls(value=float(text), half_unit=0.5 * 10.0 ** -len(text.partition(".")[2]))


@dataclass(frozen=True, kw_only=True)
class Published:
    """All printed numbers, by place."""

    numbers: Mapping[Place, Number]

    def number(self, place: Place) -> Number:
        """Look up a number that must have been printed.

        Raises:
            BenchError: If it was not; the hint names the nearest known name.
        """
        found = self.find(place)
        if found is None:
            raise BenchError(
                f"{place.text}: no such number was printed, or it could not be read.",
                "leaderboards/published/ has every number that could be read.",
            )
        return found

    def find(self, place: Place) -> Number | None:
        """Look up a number that may be missing, on a line of a table that must exist.

        Raises:
            BenchError: If the table has no such line on any data set.
        """
        names = (place.method, place.variant)
        lines = self._lines.get((place.paper, place.table))
        if lines is None:
            tables = {f"{paper} table {table}" for paper, table in self._lines}
            raise unknown("published table", f"{place.paper} table {place.table}", tables)
        if names not in lines:
            known = {" ".join(filter(None, line)) for line in lines}
            where = f"row in {place.paper} table {place.table}"
            raise unknown(where, " ".join(filter(None, names)), known)
        return self.numbers.get(place)

    @cached_property
    def _lines(self) -> dict[tuple[str, str], set[tuple[str, str]]]:
        lines: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for place in self.numbers:
            lines.setdefault((place.paper, place.table), set()).add((place.method, place.variant))
        return lines


def load() -> Published:
    """Read the files of all folders; the first folder that has a file of some name wins."""
    paths: dict[str, Path] = {}
    for folder in search_path.folders("leaderboards"):
        for path in sorted((Path(folder) / FOLDER).glob("*.csv")):
            paths.setdefault(path.name, path)
    return read(paths.values())


def read(paths: Iterable[Path]) -> Published:
    """Read files of published numbers.

    Raises:
        BenchError: For a wrong column, a value that is no number, a number that stands twice.
    """
    numbers: dict[Place, Number] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for count, content in enumerate(csv.DictReader(file), start=2):
                where = f"{path}, line {count}"
                # A line with too many fields has the rest under the key None.
                named = {str(key): value for key, value in content.items() if value is not None}
                line = check_card(named, Line, where)
                place = Place(**line.model_dump(exclude={"value"}))
                if place in numbers:
                    raise BenchError(f"{where}: {place.text} stands twice.", "Keep one line.")
                numbers[place] = Number.read(line.value)
    return Published(numbers=numbers)
