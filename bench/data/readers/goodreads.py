"""Goodreads shelves and books as the UCSD Book Graph publishes them: JSON lines.

Source: Wan & McAuley (RecSys 2018), Wan et al. (ACL 2019). An interaction is a book on a user's
shelf, read or not; its time is when it was put there (`date_added`, with a time zone offset), the
only date that is never empty. A rating of 0 means none. Genres come from a file of their own and
have commas inside their names ("fantasy, paranormal"); a book has every genre that its readers'
shelves named at all.

Roles: `interactions`, `items` (books) and, if categories are wanted, `genres`. Fields: `read_only`
and `title`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from bench.data.raw import Collector, RawData, ReaderFields
from bench.data.text_files import read_objects
from bench.data.values import FETCH_AGAIN, as_text, parse_date, parse_number, require_text
from bench.errors import BenchError

NOT_READ = "book not read"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    rf"[A-Z][a-z]{{2}} ({'|'.join(MONTHS)}) ([0-9]{{2}}) ([0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}) "
    r"([+-][0-9]{2})([0-9]{2}) ([0-9]{4})"
)


class Fields(ReaderFields):
    """What counts as an interaction, and what a book is called.

    Attributes:
        read_only: Whether books on a shelf that were not read are left out, and counted.
        title: "title", with the series in parentheses, or "title_without_series".
    """

    read_only: bool
    title: Literal["title", "title_without_series"] = "title"

    @property
    def optional_roles(self) -> tuple[str, ...]:
        """Genres become the categories."""
        return ("genres",)


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Read books, their genres if the card names a file of them, and shelves."""
    collector = Collector()
    _read_books(paths, fields.title, collector)
    for where, number, entry in read_objects(paths["interactions"]):
        user, book_id = require_text(entry, "user_id", where), require_text(entry, "book_id", where)
        was_read = entry.get("is_read")
        if not isinstance(was_read, bool):
            raise BenchError(f"{where} does not say whether the book was read.", FETCH_AGAIN)
        if fields.read_only and not was_read:
            collector.reject_interaction(NOT_READ)
            continue
        rating = parse_number(entry.get("rating"), "rating", where) or math.nan
        added = _parse_time(require_text(entry, "date_added", where), where)
        collector.add_interaction(user, book_id, rating, added, number)
    return collector.finish()


def _read_books(paths: Mapping[str, Path], title: str, collector: Collector) -> None:
    """Collect the books; of the genres of two million books, only theirs are kept in memory."""
    books = [
        (require_text(record, "book_id", where), as_text(record.get(title)))
        for where, _, record in read_objects(paths["items"])
    ]
    genres: dict[str, tuple[str, ...]] = {book_id: () for book_id, _ in books}
    for where, _, entry in read_objects(paths["genres"]) if "genres" in paths else ():
        book_id, counts = require_text(entry, "book_id", where), entry.get("genres")
        if not isinstance(counts, dict):
            raise BenchError(f"{where} has no table of genres.", FETCH_AGAIN)
        if book_id in genres:
            genres[book_id] = tuple(map(as_text, counts))
    for book_id, name in books:
        collector.add_item(book_id, name, genres[book_id])


def _parse_time(text: str, where: str) -> int:
    """Parse "Fri Apr 19 08:15:15 -0700 2013", independently of the locale."""
    match, iso = _DATE.fullmatch(text), None
    if match:
        month, day, clock, hours, minutes, year = match.groups()
        iso = f"{year}-{MONTHS.index(month) + 1:02}-{day}T{clock}{hours}:{minutes}"
    return parse_date(iso, text, where)
