"""Values in raw files, checked: finite numbers, times, dates, texts and lists of texts."""

from __future__ import annotations

import html
import json
import math
from datetime import datetime
from typing import Any

from bench.errors import BenchError

FETCH_AGAIN = "Delete the file and fetch it again, or point --data-dir at a complete copy."
TRUNCATED = "The file may be truncated. " + FETCH_AGAIN
CHECK_CARD = "Check that the card names the right files and fields for its reader."
EXCERPT = 40

# Above this a float cannot represent every second.
MAX_SECONDS = 2.0**53

Record = dict[str, Any]


def parse_json(text: str) -> object:
    """Parse a JSON value; None where the text is not valid JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_list(cell: str, what: str, where: str) -> list[Any]:
    """Parse a cell that holds a JSON list.

    Raises:
        BenchError: It does not.
    """
    value = parse_json(cell)
    if not isinstance(value, list):
        raise BenchError(f"{where}: {what} is no list: {cell[:EXCERPT]!r}.", TRUNCATED)
    return value


def parse_number(value: Any, what: str, where: str) -> float:
    """Parse a finite number.

    Args:
        value: Text, or what a JSON or literal parser returned; Booleans are no numbers.
        what: What it is ("rating"), for the message.
        where: Its location ("Line 3 of x.dat"), for the message.

    Raises:
        BenchError: It is no number, infinite or NaN.
    """
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise BenchError(
            f"{where}: the {what} {str(value)[:EXCERPT]!r} is no number.",
            "Fix the line. " + CHECK_CARD,
        )
    return number


def parse_seconds(value: Any, where: str) -> int:
    """Parse a time in seconds since 1970, UTC, rounded down.

    Raises:
        BenchError: It is no number, or too large to represent every second.
    """
    seconds = parse_number(value, "time", where)
    if abs(seconds) > MAX_SECONDS:
        raise BenchError(
            f"{where}: the time {str(value)[:EXCERPT]!r} is out of range.",
            "Times are seconds since 1970, UTC.",
        )
    return math.floor(seconds)


def parse_date(iso: str | None, text: str, where: str) -> int:
    """Convert a date to seconds since 1970, UTC.

    Args:
        iso: ISO 8601 date and time with an offset; None where `text` has no known form.
        text: The date as the file writes it, for the message.
        where: Its location, for the message.

    Raises:
        BenchError: There is no such date.
    """
    try:
        return int(datetime.fromisoformat(iso or "").timestamp())
    except ValueError as error:
        message = f"{where}: {text[:EXCERPT]!r} is no date."
        raise BenchError(message, "Fix the line. " + CHECK_CARD) from error


def as_text(value: object) -> str:
    r"""Return text with lone surrogates replaced; empty where the value is no text.

    Python 2 and JSON write characters beyond the first 65,536 as two halves, and crawlers cut texts
    between them; a half cannot be written to any file.

    Example:
        >>> as_text("\ud83c\udfae"), as_text("cut \ud83c"), as_text(None)
        ('🎮', 'cut \ufffd', '')
    """
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def require_text(record: Record, key: str, where: str) -> str:
    """Return a text that every line must have.

    Raises:
        BenchError: It is missing, empty or no text, as in another kind of file.
    """
    text = as_text(record.get(key))
    if not text:
        raise BenchError(f"{where} has no {key!r}.", CHECK_CARD)
    return text


def category_names(value: object) -> list[str]:
    """Return the texts of a list as category names, HTML entities resolved.

    Titles keep their entities, because resolving them is a choice that changes results (A-6 in the
    data notes). Categories are labels, which releases write differently.
    """
    return [html.unescape(as_text(name)) for name in value] if isinstance(value, list) else []
