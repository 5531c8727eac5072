"""Raw text files, plain or gzip: lines, delimited tables, one object per line, whole JSON values.

Files come from strangers, so nothing in them is executed and every error is one sentence that names
the file and, where there is one, the line.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from bench.data.values import CHECK_CARD, EXCERPT, FETCH_AGAIN, TRUNCATED, Record, parse_json
from bench.errors import BenchError, unknown

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WEB_PAGE_STARTS = (b"<!doctype", b"<html", b"<?xml", b"<head")

# Far above any record of the supported data sets. Without a limit, a file without a line feed would
# be read into memory whole.
MAX_LINE_BYTES = 1 << 26


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines without their ends; the file is streamed.

    The first bytes, not the name, decide whether a file is gzip. Only a line feed ends a line;
    other characters that Unicode calls line ends stay inside.

    Every byte is valid ISO-8859-1, so in that encoding a line that is UTF-8 beyond ASCII is refused
    instead of becoming mojibake.

    Raises:
        BenchError: The file cannot be read, is empty, is a web page, is a broken gzip file, is not
            in its encoding or has an overlong line.
    """
    number = 0
    try:
        with _open(path) as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                    # Downloads that need a login answer with a page.
                    if raw.lstrip().lower().startswith(WEB_PAGE_STARTS):
                        hint = "Download the file manually and name its folder with --data-dir."
                        raise BenchError(f"{path.name} is a web page, not data.", hint)
                if len(raw) > MAX_LINE_BYTES:
                    message = (
                        f"Line {number} of {path.name} is longer than {MAX_LINE_BYTES:,} bytes."
                    )
                    raise BenchError(message, FETCH_AGAIN)
                yield number, _decode(raw, encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        reason = byte if error.encoding == "utf-8" else error.reason
        message = f"Line {number} of {path.name} is not {error.encoding.upper()}: {reason}."
        raise BenchError(message, CHECK_CARD) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"{path.name} is a gzip file that is truncated or damaged after line {number}."
        raise BenchError(message, FETCH_AGAIN) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}."
        raise BenchError(message, "Check the path and its permissions.") from error
    if number == 0:
        raise BenchError(f"{path.name} is empty.", FETCH_AGAIN)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip else path.open("rb")


def _decode(raw: bytes, encoding: str) -> str:
    if encoding == "utf-8" or raw.isascii():
        return raw.decode(encoding)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(encoding)
    raise UnicodeDecodeError(encoding, raw, 0, len(raw), "it is UTF-8")


@dataclass(frozen=True, kw_only=True)
class Table:
    """An open delimited text file.

    Attributes:
        name: File name, for messages.
        header: Column names in file order.
        rows: Location ("Line 3 of x.csv"), line number and cells of each row, one cell per column.
    """

    name: str
    header: Sequence[str]
    rows: Iterator[tuple[str, int, list[str]]]

    def column(self, name: str) -> int:
        """Return the index of a column, which the header must name exactly once."""
        if self.header.count(name) != 1:
            hint = CHECK_CARD if name in self.header else unknown("column", name, self.header).hint
            raise BenchError(f"{self.name} must have exactly one column {name!r}.", hint)
        return self.header.index(name)

    def records(self, *required: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the location and the cells by column of each row; some columns are required."""
        for name in required:
            self.column(name)
        for where, _, cells in self.rows:
            yield where, dict(zip(self.header, cells, strict=True))


def open_table(
    path: Path,
    separator: str,
    *,
    header: Sequence[str] = (),
    encoding: str = "utf-8",
    multiline: bool = False,
) -> Table:
    """Open a delimited text file.

    Args:
        path: A file that `read_lines` can read.
        separator: "," for CSV, in which cells may be quoted; with any other, nothing is quoted.
        header: Column names of a file without a header line.
        encoding: The file's encoding.
        multiline: Whether quoted CSV cells may contain line feeds. If not, an unclosed quote is
            refused on its own line.

    Raises:
        BenchError: A line is not valid CSV or has another number of cells than the header; raised
            while iterating over the rows, too.
    """
    lines = read_lines(path, encoding)
    if separator == ",":
        rows = _read_csv(lines, path.name, multiline)
    else:
        rows = ((number, line.split(separator)) for number, line in lines)
    header = header or next(rows)[1]
    return Table(name=path.name, header=header, rows=_check_width(rows, len(header), path.name))


def _read_csv(
    lines: Iterable[tuple[int, str]], name: str, multiline: bool
) -> Iterator[tuple[int, list[str]]]:
    # The parser needs back the line feeds, which may be inside quotes.
    reader = csv.reader((f"{line}\n" for _, line in lines), strict=True)
    number = 1
    try:
        for cells in reader:
            if reader.line_num > number and not multiline:
                raise csv.Error("a quoted cell does not end on its line")
            yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise BenchError(f"Line {number} of {name} is not CSV: {error}.", TRUNCATED) from error


def _check_width(
    rows: Iterable[tuple[int, list[str]]], width: int, name: str
) -> Iterator[tuple[str, int, list[str]]]:
    for number, cells in rows:
        where = f"Line {number} of {name}"
        if len(cells) != width:
            raise BenchError(f"{where} has {len(cells)} cells, not {width}.", TRUNCATED)
        yield where, number, cells


def read_objects(path: Path, *, literals: bool = False) -> Iterator[tuple[str, int, Record]]:
    """Yield the location, line number and JSON object of each line.

    With `literals`, lines are the Python literals of UCSD's older releases instead. Lines that
    start like JSON are parsed as JSON, because converted copies of these files are common.

    Raises:
        BenchError: For a line that is no such object, and what `read_lines` refuses.
    """
    expected = "Python literal or JSON object" if literals else "JSON object"
    for number, line in read_lines(path):
        where = f"Line {number} of {path.name}"
        is_json = not literals or line.startswith('{"')
        record = parse_json(line) if is_json else _parse_literal(line)
        if not isinstance(record, dict):
            raise BenchError(f"{where} is no {expected}: {line[:EXCERPT]!r}.", TRUNCATED)
        yield where, number, record


def _parse_literal(line: str) -> object:
    """Parse, never execute: `ast.literal_eval` knows constants and containers only."""
    stripped = line.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return None
    try:
        with warnings.catch_warnings():
            # Stray backslashes in reviews are not the user's concern.
            warnings.simplefilter("ignore")
            return ast.literal_eval(stripped)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def read_json(path: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Read a whole file as one JSON list or object.

    Raises:
        BenchError: It is not valid JSON, or another kind of value.
    """
    try:
        value = json.loads("\n".join(line for _, line in read_lines(path)))
    except json.JSONDecodeError as error:
        message = f"Line {error.lineno} of {path.name} is no JSON: {error.msg}."
        raise BenchError(message, TRUNCATED) from error
    except (ValueError, RecursionError) as error:
        message = f"{path.name} has a number too long or lists too deep to parse."
        raise BenchError(message, FETCH_AGAIN) from error
    if not isinstance(value, kind):
        expected = "list" if kind is list else "object"
        raise BenchError(f"{path.name} is no JSON {expected}.", CHECK_CARD)
    return value
