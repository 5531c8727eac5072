"""Goodreads shelves and books as the UCSD Book Graph publishes them: JSON lines.

Source: Wan & McAuley (RecSys 2018), Wan et al. (ACL 2019). An interaction is a book on somebody's
shelf, read or not; its time is when it was put there (`date_added`, with the offset of its zone),
the one date that is never empty. A rating of 0 means none. Genres come from a file of their own and
have commas inside their names ("fantasy, paranormal"); a book has every genre that its readers'
shelves named at all.

Roles: `interactions`, `items` (books) and, if categories are wanted, `genres`. Fields: `read_only`
and `title`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.json_lines import read_json, required, text
from bench.data.parse_numbers import finite
from bench.data.raw import Collector, RawData
from bench.data.text_lines import FETCH_AGAIN
from bench.errors import BenchError

ROLES = ("interactions", "items")
OPTIONAL_ROLES = ("genres",)
NOT_READ = "book not read"

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    rf"[A-Z][a-z]{{2}} ({'|'.join(MONTHS)}) ([0-9]{{2}}) ([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}}) "
    r"([+-])([0-9]{2})([0-9]{2}) ([0-9]{4})"
)


class Fields(Card):
    """What counts as an interaction, and what a book is called.

    Attributes:
        read_only: Whether books on a shelf that were not read are left out, and counted.
        title: "title", with the series in brackets, or "title_without_series".
    """

    read_only: bool
    title: Literal["title", "title_without_series"] = "title"


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read books, their genres if there is a file of them, and shelves.

    Raises:
        BenchError: For unfit fields or a file that is not as it should be, with its line.
    """
    chosen = check_card(fields, Fields, "The card's fields")
    require(paths, "goodreads", ROLES, OPTIONAL_ROLES)
    collector = Collector()
    _read_books(paths, chosen.title, collector)
    for where, number, entry in read_json(paths["interactions"]):
        user, book = required(entry, "user_id", where), required(entry, "book_id", where)
        was_read = entry.get("is_read")
        if not isinstance(was_read, bool):
            raise BenchError(f"{where} does not say whether the book was read.", FETCH_AGAIN)
        if chosen.read_only and not was_read:
            collector.reject_interaction(NOT_READ)
            continue
        stars = finite(entry.get("rating"), "rating", where) or math.nan
        added = _seconds(required(entry, "date_added", where), where)
        collector.add_interaction(user, book, stars, added, number)
    return collector.finish()


def _read_books(paths: Mapping[str, Path], title: str, collector: Collector) -> None:
    """Take the books; of the genres, which cover two million books, only theirs are held."""
    books = [
        (required(book, "book_id", where), text(book.get(title)))
        for where, _, book in read_json(paths["items"])
    ]
    genres: dict[str, tuple[str, ...]] = {}
    if "genres" in paths:
        wanted = {book for book, _ in books}
        for where, _, entry in read_json(paths["genres"]):
            book, found = required(entry, "book_id", where), entry.get("genres")
            if not isinstance(found, dict):
                raise BenchError(f"{where} has no table of genres.", FETCH_AGAIN)
            if book in wanted:
                genres[book] = tuple(map(text, found))
    for book, name in books:
        collector.add_item(book, name, genres.get(book, ()))


def _seconds(written: str, where: str) -> int:
    """Read "Fri Apr 19 08:15:15 -0700 2013" as seconds since 1970, UTC, whatever the locale."""
    parts = _DATE.fullmatch(written)
    try:
        if parts is None:
            raise ValueError(written)
        month, day, hour, minute, second, sign, hours, minutes, year = parts.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset)
        clock = (int(day), int(hour), int(minute), int(second))
        local = datetime(int(year), MONTHS.index(month) + 1, *clock, tzinfo=zone)
        return int(local.timestamp())
    except ValueError as error:
        raise BenchError(f"{where}: {written[:40]!r} is no date.", FETCH_AGAIN) from error
