"""MovieLens as GroupLens publishes it: `::` between fields (1M, 10M) or CSV (latest).

Format: the READMEs of the archives. In `.dat` files nothing is quoted and `::` never occurs inside
a field; 1M is ISO-8859-1 and 10M is UTF-8. CSV has a header, and titles with commas are in double
quotes. Genres are separated by `|`.

Roles: `interactions` (ratings), `items` (movies) and, for profiles, `users` (in 1M alone: gender,
age and occupation in codes). Fields: `format`, `profiles` and, for `.dat`, `encoding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from bench.data.raw import Collector, RawData, ReaderFields
from bench.data.text_files import open_table
from bench.data.values import CHECK_CARD, parse_number, parse_seconds
from bench.errors import BenchError

MOVIES = ("movieId", "title", "genres")
RATINGS = ("userId", "movieId", "rating", "timestamp")
USERS = ("userId", "gender", "age", "occupation", "zip")


class Fields(ReaderFields):
    """How the files are written.

    Attributes:
        format: "dat" or "csv".
        encoding: Of `.dat` files, which differ in it; CSV is always UTF-8.
        profiles: Whether to read the users' profiles, too.
    """

    format: Literal["dat", "csv"]
    encoding: Literal["utf-8", "iso-8859-1"] | None = None
    profiles: bool = False

    @model_validator(mode="after")
    def _encoding_fits_format(self) -> Fields:
        if (self.format == "dat") != (self.encoding is not None):
            raise ValueError("`encoding` is required for dat files and allowed for no others")
        return self

    @property
    def required_roles(self) -> tuple[str, ...]:
        """Users only if profiles are read."""
        return ("interactions", "items", *(("users",) if self.profiles else ()))


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Read the user file if profiles are wanted, the movie file and the rating file."""
    collector = Collector()
    if fields.profiles:
        for where, _, (user, gender, age, occupation, _) in _rows(paths["users"], USERS, fields):
            codes = (int(parse_number(code, "code", where)) for code in (age, occupation))
            collector.add_profile(user, gender, *codes)
    for _, _, (movie, title, genres) in _rows(paths["items"], MOVIES, fields):
        collector.add_item(movie, title, genres.split("|"))
    ratings = _rows(paths["interactions"], RATINGS, fields)
    for where, number, (user, movie, rating, time) in ratings:
        value, seconds = parse_number(rating, "rating", where), parse_seconds(time, where)
        collector.add_interaction(user, movie, value, seconds, number)
    return collector.finish()


def _rows(
    path: Path, columns: tuple[str, ...], fields: Fields
) -> Iterator[tuple[str, int, list[str]]]:
    if fields.encoding:
        return open_table(path, "::", header=columns, encoding=fields.encoding).rows
    table = open_table(path, ",")
    if tuple(table.header) != columns:
        message = f"Line 1 of {path.name} is not the header {','.join(columns)}."
        raise BenchError(message, CHECK_CARD)
    return table.rows
