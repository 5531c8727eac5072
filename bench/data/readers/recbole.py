"""RecBole atomic files: tab-separated text whose header gives each column a name and a type.

Format: recbole.io, "Atomic files": `name:type` with type token, token_seq, float or float_seq;
sequences are separated by single spaces. Files may be plain or gzip.

Roles: `interactions` (.inter) and `items` (.item). Fields: `user`, `item`, `time` and, if the set
has ratings, `rating` name columns of the first; `item` again, `title` and, if there are any,
`categories` speak of the second. `title` is a template: "{movie_title} ({release_year})".
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.parse_numbers import finite, whole_seconds
from bench.data.raw import Collector, RawData
from bench.data.text_lines import FETCH_AGAIN, read_lines
from bench.errors import BenchError, unknown

TYPES = ("token", "token_seq", "float", "float_seq")
ROLES = ("interactions", "items")


class Fields(Card):
    """Which columns mean what; `rating` and `categories` may be left out."""

    user: str
    item: str
    time: str
    title: str
    rating: str | None = None
    categories: str | None = None


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read an item file and an interaction file.

    Raises:
        BenchError: For unfit fields or a file that is not as it should be, with its line.
    """
    columns = check_card(fields, Fields, "The card's fields")
    require(paths, "recbole", ROLES)
    collector = Collector()
    _read_items(_Table.open(paths["items"]), columns, collector)
    _read_interactions(_Table.open(paths["interactions"]), columns, collector)
    return collector.finish()


@dataclass(frozen=True, kw_only=True)
class _Table:
    """An open atomic file.

    Attributes:
        name: File name, for messages.
        types: Column types by name, in file order.
        lines: Numbered lines after the header.
    """

    name: str
    types: Mapping[str, str]
    lines: Iterator[tuple[int, str]]

    @classmethod
    def open(cls, path: Path) -> _Table:
        lines = read_lines(path)
        _, header = next(lines)
        types: dict[str, str] = {}
        for cell in header.split("\t"):
            name, colon, kind = cell.rpartition(":")
            if not colon or kind not in TYPES or name in types:
                raise BenchError(
                    f"Line 1 of {path.name} is not a RecBole header: {cell[:40]!r}.",
                    f"Each column is `name:type`, once, with type one of {', '.join(TYPES)}.",
                )
            types[name] = kind
        return cls(name=path.name, types=types, lines=lines)

    def column(self, name: str) -> int:
        """Return a column's place."""
        if name not in self.types:
            hint = unknown("column", name, self.types).hint
            raise BenchError(f"{self.name} has no column {name!r}.", hint)
        return list(self.types).index(name)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line numbers and cells; every row has as many cells as the header."""
        width = len(self.types)
        for number, line in self.lines:
            cells = line.split("\t")
            if len(cells) != width:
                raise BenchError(
                    f"Line {number} of {self.name} has {len(cells)} columns, not {width}.",
                    "It seems to be cut off. " + FETCH_AGAIN,
                )
            yield number, cells


def _read_items(table: _Table, columns: Fields, collector: Collector) -> None:
    item = table.column(columns.item)
    title_of = _title_template(columns.title, table)
    categories = separator = None
    if columns.categories is not None:
        categories = table.column(columns.categories)
        separator = _separator(table, columns.categories)
    for _, cells in table.rows():
        names: Sequence[str] = ()
        if categories is not None:
            names = cells[categories].split(separator) if separator else [cells[categories]]
        collector.add_item(cells[item], title_of.fill(cells), names)


def _separator(table: _Table, name: str) -> str | None:
    kind = table.types[name]
    if not kind.startswith("token"):
        raise BenchError(
            f"The column {name!r} of {table.name} is of type {kind}.",
            "Categories are a token or a token_seq.",
        )
    return " " if kind == "token_seq" else None


def _read_interactions(table: _Table, columns: Fields, collector: Collector) -> None:
    user, item, time = (table.column(n) for n in (columns.user, columns.item, columns.time))
    rating = None if columns.rating is None else table.column(columns.rating)
    for number, cells in table.rows():
        where = f"Line {number} of {table.name}"
        seconds = whole_seconds(cells[time], where)
        stars = math.nan if rating is None else finite(cells[rating], "rating", where)
        collector.add_interaction(cells[user], cells[item], stars, seconds, number)


@dataclass(frozen=True, kw_only=True)
class _Template:
    """Literal text and column places, taken in turn; texts has one entry more than columns."""

    texts: tuple[str, ...]
    columns: tuple[int, ...]

    def fill(self, cells: Sequence[str]) -> str:
        """Return the title; empty where every column is, without brackets round nothing."""
        values = [cells[column].strip() for column in self.columns]
        if not any(values):
            return ""
        pairs = zip(values, self.texts[1:], strict=True)
        title = self.texts[0] + "".join(value + text for value, text in pairs)
        return title if all(values) else re.sub(r"\s*\(\s*\)", "", title)


def _title_template(template: str, table: _Table) -> _Template:
    """Parse "{movie_title} ({release_year})"; plain column names only, no formatting."""
    texts, columns = [""], []
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise BenchError(
            f"The title template {template!r} is broken: {error}.", "Example: {movie_title}"
        ) from error
    for text, name, form, conversion in pieces:
        texts[-1] += text
        if name is not None:
            if form or conversion:
                raise BenchError(
                    f"The title template {template!r} formats {name!r}.",
                    "Write the column's name alone between the braces.",
                )
            columns.append(table.column(name))
            texts.append("")
    if not columns:
        raise BenchError(
            f"The title template {template!r} names no column.", "Example: {movie_title}"
        )
    return _Template(texts=tuple(texts), columns=tuple(columns))
