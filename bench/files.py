"""Files: atomic writes, and tables from outside read as checked rows.

A table's file name says how to read it: JSON lines (`.jsonl`), a JSON list (`.json`), CSV or TSV
with a header, each also with `.gz`, or parquet. Nothing here unpickles anything.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, BeforeValidator, ValidationError

from bench.errors import BenchError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
TRUNCATED_HINT = "Download or write the file again."

Row = TypeVar("Row", bound=BaseModel)


def _id_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError("neither an integer nor text")
    return str(value)


Id = Annotated[str, BeforeValidator(_id_text)]
"""An item, user or case id: an integer or a non-empty text, kept as text."""


def file_kind(path: Path) -> str:
    """Return a file's kind from its name: `.csv` for both `a.csv` and `a.csv.gz`.

    Parquet compresses its own content, so `a.parquet.gz` is of no known kind and gives `.gz`.
    """
    suffix = path.suffix.lower()
    if suffix != ".gz":
        return suffix
    inner = Path(path.stem).suffix.lower()
    return suffix if inner == ".parquet" else inner


def read_rows(path: Path, row_type: type[Row]) -> list[tuple[str, Row]]:
    """Read a file of one of the kinds above; columns that `row_type` does not name are ignored.

    Returns:
        At least one row, each after its location, e.g. `Line 3 of runs.jsonl`.

    Raises:
        BenchError: If the file cannot be read or is empty, or a row does not match `row_type`.
    """
    kind = file_kind(path)
    if kind == ".parquet":
        contents = _read_parquet(path, list(row_type.model_fields))
    elif kind in SEPARATORS:
        contents = _read_csv(path, SEPARATORS[kind])
    else:
        contents = _read_json_list(path) if kind == ".json" else _read_json_lines(path)
    rows = [(location, _check_row(row_type, row, location)) for location, row in contents]
    if not rows:
        raise BenchError(f"{path.name} is empty.", "Check that it was written completely.")
    return rows


def _check_row(row_type: type[Row], row: object, location: str) -> Row:
    hint = f"A row is an object with the keys {', '.join(row_type.model_fields)}."
    if not isinstance(row, dict):
        raise BenchError(f"{location} is not an object.", hint)
    try:
        return row_type.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    key = str(first["loc"][0])
    if first["type"] == "missing":
        raise BenchError(f"{location} has no {key!r}.", hint)
    complaints = {
        "tuple_type": "not a list",
        "string_type": "not text",
        "string_too_short": "too short",
    }
    complaint = complaints.get(first["type"], "neither an integer nor text")
    raise BenchError(f"{location}: {first['input']!r:.60} in {key!r} is {complaint}.", hint)


def read_json(path: Path) -> object:
    """Read a `.json` or `.json.gz` file as one value.

    Raises:
        BenchError: If the file cannot be read or is not JSON.
    """
    return _parse_json(_read_text(path), path.name)


def _read_json_lines(path: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            location = f"Line {number} of {path.name}"
            yield location, _parse_json(line, location)


def _read_json_list(path: Path) -> Iterator[tuple[str, object]]:
    text = _read_text(path)
    rows = _parse_json(text, path.name) if text.strip() else []
    if not isinstance(rows, list):
        raise BenchError(f"{path.name} is not a JSON list.", "Write one list of objects.")
    for number, row in enumerate(rows, start=1):
        yield f"Item {number} of {path.name}", row


def _parse_json(text: str, location: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise BenchError(
            f"{location} is not JSON: {error.msg} at character {error.pos + 1}.",
            "Write it with a JSON library.",
        ) from None
    except (ValueError, RecursionError):
        raise BenchError(
            f"{location} has a number too long or lists too deep to read.",
            "Check how it was written.",
        ) from None
    return value


def _read_csv(path: Path, separator: str) -> Iterator[tuple[str, object]]:
    text = io.StringIO(_read_text(path), newline="")
    reader = csv.DictReader(text, delimiter=separator, strict=True)
    try:
        for row in reader:
            location = f"Line {reader.line_num} of {path.name}"
            if None in row or None in row.values():
                raise BenchError(
                    f"{location} does not have as many columns as the header.",
                    "Put quotes around values with separators.",
                )
            cells: dict[str, Any] = dict(row)
            if "categories" in cells:
                names = (name.strip() for name in cells["categories"].split("|"))
                cells["categories"] = [name for name in names if name]
            yield location, cells
    except csv.Error as error:
        location = f"Line {reader.reader.line_num} of {path.name}"
        raise BenchError(f"{location} is not CSV: {error}.", "Use a CSV library.") from None


def _read_parquet(path: Path, names: list[str]) -> Iterator[tuple[str, object]]:
    try:
        with pq.ParquetFile(io.BytesIO(_read_bytes(path))) as file:
            columns = [name for name in file.schema_arrow.names if name in names]
            rows = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError):
        raise BenchError(f"{path.name} is truncated or not parquet.", TRUNCATED_HINT) from None
    for number, row in enumerate(rows, start=1):
        yield f"Row {number} of {path.name}", row


def _read_text(path: Path) -> str:
    content = _read_bytes(path)
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error):
            raise BenchError(f"{path.name} is truncated or not gzip.", TRUNCATED_HINT) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"Line {line} of {path.name} is not UTF-8.", "Save the file in UTF-8."
        ) from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's name and permissions."
        ) from None


def require_writable(folder: Path, option: str) -> None:
    """Require that a folder can be written, or made; nothing is left behind.

    Raises:
        BenchError: A file is in its way, or its disk refuses writes.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise BenchError(
            f"{option} {folder} cannot be written: {error.strerror} ({existing}).",
            "Name another folder.",
        ) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: temporary file, fsync, rename; no reader sees a part of it."""
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
