"""Rows of tables that come from outside, each checked and each with its place in the file.

The file's name says how to read it: JSON lines (`.jsonl`), a JSON list (`.json`), CSV or TSV with a
header, each also with `.gz` after it, or parquet. Nothing here unpickles anything.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, BeforeValidator, ValidationError

from bench.errors import BenchError

SEPARATORS = {".csv": ",", ".tsv": "\t"}

Row = TypeVar("Row", bound=BaseModel)


def _id_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError("neither an integer nor text")
    return str(value)


Id = Annotated[str, BeforeValidator(_id_text)]


def file_kind(path: Path) -> str:
    """Tell a file's kind from its name: `.csv` for both `a.csv` and `a.csv.gz`.

    Parquet is packed inside; `a.parquet.gz` is of no known kind and gives `.gz`.
    """
    suffix = path.suffix.lower()
    if suffix != ".gz":
        return suffix
    inner = Path(path.stem).suffix.lower()
    return suffix if inner == ".parquet" else inner


def read_rows(path: Path, row_type: type[Row]) -> list[tuple[str, Row]]:
    """Read a file of rows.

    Args:
        path: A file of one of the kinds above.
        row_type: What each row must be; columns that it does not name are left unread.

    Returns:
        The rows, at least one, each after its place, e.g. `Line 3 of runs.jsonl`.

    Raises:
        BenchError: The file cannot be read or is empty, or a row is not as `row_type` asks.
    """
    kind = file_kind(path)
    if kind == ".parquet":
        rows = _parquet_rows(path, list(row_type.model_fields))
    elif kind in SEPARATORS:
        rows = _table_rows(path, SEPARATORS[kind])
    else:
        rows = _json_list(path) if kind == ".json" else _json_lines(path)
    placed = [(place, _checked_row(row_type, row, place)) for place, row in rows]
    if not placed:
        raise BenchError(f"{path.name} is empty.", "Check that it was written to its end.")
    return placed


def _checked_row(row_type: type[Row], row: object, place: str) -> Row:
    keys = ", ".join(row_type.model_fields)
    if not isinstance(row, dict):
        raise BenchError(f"{place} is not an object.", f"Its keys must be {keys}.")
    try:
        return row_type.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    key = str(first["loc"][0])
    if first["type"] == "missing":
        raise BenchError(f"{place} has no {key!r}.", f"Its keys must be {keys}.")
    found = repr(first["input"])
    wanted = {
        "tuple_type": "not a list",
        "string_type": "not text",
        "string_too_short": "too short",
    }
    complaint = wanted.get(first["type"], "neither an integer nor text")
    raise BenchError(
        f"{place}: {found[:60]} in {key!r} is {complaint}.",
        "Ids are integers or text; history, items and categories are lists, which may be empty.",
    )


def _json_lines(path: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            place = f"Line {number} of {path.name}"
            yield place, _json(line, place)


def read_json(path: Path) -> object:
    """Read a `.json` or `.json.gz` file as one value.

    Raises:
        BenchError: The file cannot be read or is not JSON.
    """
    return _json(_text(path), path.name)


def _json_list(path: Path) -> Iterator[tuple[str, object]]:
    text = _text(path)
    listed = _json(text, path.name) if text.strip() else []
    if not isinstance(listed, list):
        raise BenchError(f"{path.name} is not a JSON list.", "Write one list of objects.")
    for number, row in enumerate(listed, start=1):
        yield f"Item {number} of {path.name}", row


def _json(text: str, place: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise BenchError(
            f"{place} is not JSON: {error.msg} at character {error.pos + 1}.",
            "Write it with a JSON library.",
        ) from None
    except (ValueError, RecursionError):
        raise BenchError(
            f"{place} has a number too long or lists too deep to read.", "Check how it was written."
        ) from None
    return value


def _table_rows(path: Path, separator: str) -> Iterator[tuple[str, object]]:
    text = io.StringIO(_text(path), newline="")
    reader = csv.DictReader(text, delimiter=separator, strict=True)
    try:
        for row in reader:
            place = f"Line {reader.line_num} of {path.name}"
            if None in row or None in row.values():
                raise BenchError(
                    f"{place} has not as many columns as the header.", "Put quotes around commas."
                )
            cells: dict[str, Any] = dict(row)
            if "categories" in cells:
                names = (name.strip() for name in cells["categories"].split("|"))
                cells["categories"] = [name for name in names if name]
            yield place, cells
    except csv.Error as error:
        raise BenchError(
            f"Line {reader.reader.line_num} of {path.name} is not a table's: {error}.",
            "Write it with a CSV library.",
        ) from None


def _parquet_rows(path: Path, names: list[str]) -> Iterator[tuple[str, object]]:
    try:
        with pq.ParquetFile(io.BytesIO(_content(path))) as file:
            columns = [name for name in file.schema_arrow.names if name in names]
            rows = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError):
        raise BenchError(
            f"{path.name} is cut off or is not parquet.", "Fetch or write the file again."
        ) from None
    for number, row in enumerate(rows, start=1):
        yield f"Row {number} of {path.name}", row


def _text(path: Path) -> str:
    content = _content(path)
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error):
            raise BenchError(
                f"{path.name} is cut off or is not gzip.", "Fetch or write the file again."
            ) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"Line {number} of {path.name} is not UTF-8.", "Save the file in UTF-8."
        ) from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's name and rights."
        ) from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
