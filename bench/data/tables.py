"""Folders of parquet tables and one JSON file, guarded by a fingerprint of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError
from bench.hashing import canonical_json

PREPARE_AGAIN = "Remove that folder from the store and run again."


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """How one kind of data is stored.

    Attributes:
        format: Name and version of the format.
        json_name: Name of the JSON file, for the values that are in no table.
        tables: Names of the columns by table; each is stored as NAME.parquet.
    """

    what: str
    format: str
    json_name: str
    tables: Mapping[str, Sequence[str]]

    def write(
        self, folder: Path, fingerprint: str, values: Mapping[str, Any], content: Mapping[str, Any]
    ) -> None:
        """Write columns by name and other content into an existing folder."""
        for name, columns in self.tables.items():
            write_table(folder, name, {column: values[column] for column in columns})
        content = {"format": self.format, "fingerprint": fingerprint, **content}
        (folder / self.json_name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def read(self, folder: Path, build: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Any:
        """Read what `write` wrote, and build the data from columns by name and the other content.

        Raises:
            BenchError: The folder contains something else, or was changed since.
        """
        try:
            content = json.loads((folder / self.json_name).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != self.format:
                raise BenchError(f"{folder} does not contain {self.format}.", PREPARE_AGAIN)
            values: dict[str, Any] = {}
            for name, columns in self.tables.items():
                values |= read_table(folder, name, columns, self.what)
            data = build(values, content)
            if data.fingerprint != content["fingerprint"]:
                raise BenchError(f"The {self.what} in {folder} were changed.", PREPARE_AGAIN)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{folder} does not contain {self.what}: {error}."
            raise BenchError(message, PREPARE_AGAIN) from error
        return data


def write_table(folder: Path, name: str, columns: Mapping[str, Any]) -> None:
    """Write arrays and tuples to NAME.parquet; an empty tuple is left out."""
    arrays = {
        # A two-dimensional array becomes a column of lists.
        column: list(values) if isinstance(values, np.ndarray) and values.ndim > 1 else values
        for column, values in columns.items()
        if not isinstance(values, tuple) or values
    }
    pq.write_table(pa.table(arrays), folder / f"{name}.parquet")


def read_table(folder: Path, name: str, columns: Sequence[str], what: str) -> dict[str, Any]:
    """Read what `write_table` wrote, with the same types.

    Raises:
        BenchError: The folder has no such table.
    """
    try:
        table = pq.read_table(folder / f"{name}.parquet")
        there = set(table.column_names)
        return {column: _to_value(table[column]) if column in there else () for column in columns}
    except (OSError, ValueError) as error:
        raise BenchError(f"{folder} does not contain {what}: {error}.", PREPARE_AGAIN) from error


def _to_value(column: pa.ChunkedArray) -> Any:
    if pa.types.is_string(column.type):
        return tuple(column.to_pylist())
    # A copy: what pyarrow lends is read-only and keeps the whole table in memory.
    if not pa.types.is_list(column.type):
        return column.to_numpy().copy()
    if pa.types.is_string(column.type.value_type) or pa.types.is_null(column.type.value_type):
        return tuple(map(tuple, column.to_pylist()))
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1).copy()


def hash_content(parts: Iterable[Any]) -> str:
    """Hash arrays by value, bytes as they are and anything else as canonical JSON."""
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            dtype = "<f4" if np.issubdtype(part.dtype, np.floating) else "<i8"
            hasher.update(np.ascontiguousarray(part, dtype=dtype).data)
        elif isinstance(part, bytes):
            hasher.update(part)
        else:
            hasher.update(canonical_json(part).encode() + b"\n")
    return hasher.hexdigest()
