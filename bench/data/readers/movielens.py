"""MovieLens as GroupLens publishes it: `::` between fields (1M, 10M) or CSV (latest).

Format: the READMEs of the archives. In `.dat` files nothing is quoted and `::` never stands inside
a field; 1M is ISO-8859-1 and 10M is UTF-8. CSV has a header, and titles with commas stand in double
quotes. Genres are separated by `|`.

Roles: `interactions` (ratings), `items` (movies) and, for profiles, `users` (in 1M alone: gender,
age and occupation in codes). Fields: `format`, `profiles` and, for `.dat`, `encoding`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.parse_numbers import finite, whole_seconds
from bench.data.raw import Collector, RawData
from bench.data.text_lines import FETCH_AGAIN, read_lines
from bench.errors import BenchError

ROLES, OF_PROFILES = ("interactions", "items"), ("users",)
SEPARATOR = "::"
MOVIES = ("movieId", "title", "genres")
RATINGS = ("userId", "movieId", "rating", "timestamp")
USERS = ("userId", "gender", "age", "occupation", "zip")


class Fields(Card):
    """How the files are written.

    Attributes:
        format: "dat" or "csv".
        encoding: Of `.dat` files, which differ in it; CSV is always UTF-8.
        profiles: Whether users' profiles are read, too.
    """

    format: Literal["dat", "csv"]
    encoding: Literal["utf-8", "iso-8859-1"] | None = None
    profiles: bool = False

    @model_validator(mode="after")
    def _encoding_where_it_differs(self) -> Fields:
        if (self.format == "dat") != (self.encoding is not None):
            raise ValueError("`encoding` is given for dat files, and only for them")
        return self


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read a movie file, a rating file and, if there is one, a user file.

    Raises:
        BenchError: For unfit fields or a file that is not as it should be, with its line.
    """
    written = check_card(fields, Fields, "The card's fields")
    require(paths, "movielens", (*ROLES, *OF_PROFILES) if written.profiles else ROLES)
    collector = Collector()
    if written.profiles:
        for where, _, (user, gender, age, occupation, _) in _rows(paths["users"], USERS, written):
            codes = (int(finite(code, "code", where)) for code in (age, occupation))
            collector.add_profile(user, gender, *codes)
    for _, _, (movie, title, genres) in _rows(paths["items"], MOVIES, written):
        collector.add_item(movie, title, genres.split("|"))
    for where, number, (user, movie, rating, time) in _rows(
        paths["interactions"], RATINGS, written
    ):
        stars, seconds = finite(rating, "rating", where), whole_seconds(time, where)
        collector.add_interaction(user, movie, stars, seconds, number)
    return collector.finish()


def _rows(
    path: Path, columns: tuple[str, ...], written: Fields
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield where each row stands, its line number and its cells; a header is checked."""
    as_csv = written.format == "csv"
    for number, line in read_lines(path, written.encoding or "utf-8"):
        where = f"Line {number} of {path.name}"
        cells = _csv_cells(line, where) if as_csv else line.split(SEPARATOR)
        if len(cells) != len(columns):
            raise BenchError(
                f"{where} has {len(cells)} fields, not {len(columns)}.",
                f"It may be cut off, or no {written.format} file. {FETCH_AGAIN}",
            )
        if number > 1 or not as_csv:
            yield where, number, cells
        elif tuple(cells) != columns:
            raise BenchError(
                f"{where} is not the header {','.join(columns)}.",
                "Check that the card names the right files.",
            )


def _csv_cells(line: str, where: str) -> list[str]:
    """Parse one line alone, so that a quote that is never closed cannot swallow the file."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise BenchError(f"{where} is not CSV: {error}.", FETCH_AGAIN) from error
