"""The papers' published numbers, from `leaderboards/published/*.csv`.

One line per number: paper, table, dataset, method, variant, metric, value. What a table leaves
blank or could not be read has no line: looking it up is an error, never a zero.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from bench.config import plugins
from bench.config.toml import Card, check_card
from bench.errors import BenchError, unknown

FOLDER = "published"


class Place(Card):
    """Where a number is printed; `dataset`, `method` and `variant` are "" where there is none."""

    paper: str
    table: str
    dataset: str = ""
    method: str = ""
    variant: str = ""
    metric: str

    @property
    def text(self) -> str:
        """The location in words, for errors."""
        line = " ".join(part for part in (self.method, self.variant) if part)
        parts = [f"{self.paper} table {self.table}", line, self.dataset, self.metric]
        return ", ".join(part for part in parts if part)


def _check_number(value: str) -> str:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(value)):
            return value
    raise ValueError("the value is not a finite number")


class Line(Place):
    """One line of a file, as text."""

    dataset: str
    method: str
    variant: str
    value: Annotated[str, AfterValidator(_check_number)]


@dataclass(frozen=True, kw_only=True)
class Number:
    """A printed number.

    Attributes:
        value: In the metric's unit as printed: percentages stay percentages.
        half_unit: Half a unit of the last printed digit; the true value is within it.
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
    """All printed numbers, by location."""

    numbers: Mapping[Place, Number]

    def find(self, location: Place) -> Number | None:
        """Return a number, or None where an existing row of a table has none.

        Raises:
            BenchError: If the table has no such row on any data set; the hint names the nearest.
        """
        row = (location.method, location.variant)
        rows = self._rows.get((location.paper, location.table))
        if rows is None:
            tables = {f"{paper} table {table}" for paper, table in self._rows}
            raise unknown("published table", f"{location.paper} table {location.table}", tables)
        if row not in rows:
            names = {" ".join(filter(None, names_of_row)) for names_of_row in rows}
            what = f"row in {location.paper} table {location.table}"
            raise unknown(what, " ".join(filter(None, row)), names)
        return self.numbers.get(location)

    @cached_property
    def _rows(self) -> dict[tuple[str, str], set[tuple[str, str]]]:
        rows: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for location in self.numbers:
            table = (location.paper, location.table)
            rows.setdefault(table, set()).add((location.method, location.variant))
        return rows


def load_published() -> Published:
    """Read the files of all folders; the first folder with a file name wins."""
    return read_published(plugins.board_files(FOLDER, "csv").values())


def read_published(paths: Iterable[Path]) -> Published:
    """Read files of published numbers.

    Raises:
        BenchError: If a column is wrong, a value is not a number, or a number occurs twice.
    """
    numbers: dict[Place, Number] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                line_name = f"{path}, line {number}"
                # A line with too many fields has the rest under the key None.
                fields = {str(key): value for key, value in row.items() if value is not None}
                line = check_card(fields, Line, line_name)
                location = Place(**line.model_dump(exclude={"value"}))
                if location in numbers:
                    raise BenchError(f"{line_name}: {location.text} occurs twice.", "Keep one.")
                numbers[location] = Number.read(line.value)
    return Published(numbers=numbers)
