"""Raw files with one object a line: JSON, or the Python literals of UCSD's older releases.

A literal is parsed, never run: `ast.literal_eval` knows constants and containers and nothing else,
and it is only ever given a whole line that begins and ends with a brace.
"""

from __future__ import annotations

import ast
import html
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.data.text_lines import FETCH_AGAIN, read_lines
from bench.errors import BenchError

SHOWN = 40

Record = dict[str, Any]


def read_json(path: Path) -> Iterator[tuple[str, int, Record]]:
    """Yield where each object stands, its line number and the object; every line is JSON.

    Raises:
        BenchError: For a line that is no JSON object, and what `read_lines` refuses.
    """
    for number, line in read_lines(path):
        where = f"Line {number} of {path.name}"
        yield where, number, _checked(_json(line), line, where, "JSON object")


def read_literals(path: Path) -> Iterator[tuple[str, int, Record]]:
    """Yield the same from Python-literal lines; lines of JSON are taken too.

    Copies of these files that somebody turned into JSON are common, and the first characters tell
    the two apart: JSON's keys stand in double quotes, a literal's in single ones.

    Raises:
        BenchError: For a line that is neither, and what `read_lines` refuses.
    """
    for number, line in read_lines(path):
        where = f"Line {number} of {path.name}"
        parsed = _json(line) if line.startswith('{"') else _literal(line)
        yield where, number, _checked(parsed, line, where, "Python literal or JSON object")


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _literal(line: str) -> object:
    stripped = line.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return None
    try:
        with warnings.catch_warnings():
            # A stray backslash in somebody's review is no concern of the user's.
            warnings.simplefilter("ignore")
            return ast.literal_eval(stripped)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _checked(parsed: object, line: str, where: str, expected: str) -> Record:
    if isinstance(parsed, dict):
        return parsed
    raise BenchError(
        f"{where} is no {expected}: {line[:SHOWN]!r}.", "It may be cut off. " + FETCH_AGAIN
    )


def text(value: object) -> str:
    r"""Return a value that is text, whole characters only; empty where it is anything else.

    Python 2 and JSON write a character beyond the first 65,536 as two halves, and crawlers cut
    texts between them; a half cannot be written to any file.

    Example:
        >>> text("\ud83c\udfae"), text("cut \ud83c"), text(None)
        ('🎮', 'cut \ufffd', '')
    """
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def required(record: Record, key: str, where: str) -> str:
    """Return a text that no line goes without.

    Raises:
        BenchError: It is missing, empty or no text: then this is another kind of file.
    """
    found = text(record.get(key))
    if not found:
        raise BenchError(
            f"{where} has no {key!r}.", "Check that the card names the right files for its reader."
        )
    return found


def names(value: object) -> list[str]:
    """Return the texts of a list as names of categories, HTML entities resolved.

    Titles keep their entities, because which of them are resolved is a choice that changes results
    (A-6 in the data notes); a category is a label, and releases differ in how they write it.
    """
    return [html.unescape(text(one)) for one in value] if isinstance(value, list) else []
