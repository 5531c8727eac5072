"""RecBole atomic files: tab-separated text whose header gives each column a name and a type.

Format: recbole.io, "Atomic files": `name:type` with type token, token_seq, float or float_seq;
sequences are separated by single spaces. Files may be plain or gzip.

Roles: `interactions` (.inter) and `items` (.item). Fields: `user`, `item`, `time` and, if the set
has ratings, `rating` name columns of the first; `item`, `title` and, if there are any, `categories`
refer to the second. `title` is a template: "{movie_title} ({release_year})".
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.data.raw import Collector, RawData, ReaderFields
from bench.data.text_files import Table, open_table
from bench.data.values import EXCERPT, parse_number, parse_seconds
from bench.errors import BenchError

TYPES = ("token", "token_seq", "float", "float_seq")


class Fields(ReaderFields):
    """Which columns mean what; `rating` and `categories` are optional."""

    user: str
    item: str
    time: str
    title: str
    rating: str | None = None
    categories: str | None = None


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Read the item file and the interaction file."""
    collector = Collector()
    _read_items(paths["items"], fields, collector)
    _read_interactions(paths["interactions"], fields, collector)
    return collector.finish()


def _open(path: Path) -> tuple[Table, dict[str, str]]:
    """Open an atomic file and return it with the types of its columns by name."""
    table = open_table(path, "\t")
    types: dict[str, str] = {}
    for cell in table.header:
        name, colon, kind = cell.rpartition(":")
        if not colon or kind not in TYPES or name in types:
            raise BenchError(
                f"Line 1 of {path.name} is not a RecBole header: {cell[:EXCERPT]!r}.",
                f"Each column is `name:type`, once, with type one of {', '.join(TYPES)}.",
            )
        types[name] = kind
    return replace(table, header=tuple(types)), types


def _read_items(path: Path, fields: Fields, collector: Collector) -> None:
    table, types = _open(path)
    item = table.column(fields.item)
    title = _parse_template(fields.title, table)
    column, is_sequence = None, False
    if fields.categories is not None:
        column, kind = table.column(fields.categories), types[fields.categories]
        if not kind.startswith("token"):
            message = f"The column {fields.categories!r} of {path.name} is of type {kind}."
            raise BenchError(message, "Categories are a token or a token_seq.")
        is_sequence = kind == "token_seq"
    for _, _, cells in table.rows:
        text = "" if column is None else cells[column]
        categories = text.split(" ") if is_sequence else [text]
        collector.add_item(cells[item], _fill(title, cells), categories)


def _read_interactions(path: Path, fields: Fields, collector: Collector) -> None:
    table, _ = _open(path)
    user, item, time = map(table.column, (fields.user, fields.item, fields.time))
    rating = None if fields.rating is None else table.column(fields.rating)
    for where, number, cells in table.rows:
        seconds = parse_seconds(cells[time], where)
        value = math.nan if rating is None else parse_number(cells[rating], "rating", where)
        collector.add_interaction(cells[user], cells[item], value, seconds, number)


def _parse_template(template: str, table: Table) -> list[tuple[str, int | None]]:
    """Parse "{movie_title} ({release_year})" into texts, each followed by a column or None."""
    pieces: list[tuple[str, int | None]] = []
    problem = "" if "{" in template else "names no column"
    try:
        for text, name, form, conversion in string.Formatter().parse(template):
            if form or conversion:
                problem = f"formats {name!r}"
                break
            pieces.append((text, None if name is None else table.column(name)))
    except ValueError as error:
        problem = f"is malformed: {error}"
    if problem:
        hint = "Write column names between braces, such as {movie_title}."
        raise BenchError(f"The title template {template!r} {problem}.", hint)
    return pieces


def _fill(pieces: Sequence[tuple[str, int | None]], cells: Sequence[str]) -> str:
    """Fill the template; "" if all columns are empty. Empty parentheses are removed."""
    values = [cells[column].strip() for _, column in pieces if column is not None]
    if not any(values):
        return ""
    title = "".join(
        text + (cells[column].strip() if column is not None else "") for text, column in pieces
    )
    return title if all(values) else re.sub(r"\s*\(\s*\)", "", title)
