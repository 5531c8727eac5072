"""Values in raw files, checked: finite numbers, times, dates, texts and lists of texts.

For error messages, `what` names a value ("rating") and `where` its location ("Line 3 of x.dat").
"""

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
    """Parse a finite number from text, or from what a JSON or literal parser returned.

    Raises:
        BenchError: It is no number (as Booleans), infinite or NaN.
    """
    try:
        number = math.nan if isinstance(value, bool | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        message = f"{where}: the {what} {str(value)[:EXCERPT]!r} is no number."
        raise BenchError(message, "Fix the line. " + CHECK_CARD)
    return number


def parse_seconds(value: Any, where: str) -> int:
    """Parse a time in seconds since 1970, UTC, rounded down.

    Raises:
        BenchError: It is no number, or too large to represent every second.
    """
    seconds = parse_number(value, "time", where)
    if abs(seconds) > MAX_SECONDS:
        message = f"{where}: the time {str(value)[:EXCERPT]!r} is out of range."
        raise BenchError(message, "Times are seconds since 1970, UTC.")
    return math.floor(seconds)


def parse_date(iso: str | None, text: str, where: str) -> int:
    """Convert an ISO 8601 time with an offset to seconds since 1970, UTC.

    `iso` is None where `text`, as the file writes it, has no known form.

    Raises:
        BenchError: There is no such time.
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

    Titles keep theirs, because resolving them is a choice that changes results (A-6 in the data
    notes).
    """
    return [html.unescape(as_text(name)) for name in value] if isinstance(value, list) else []
