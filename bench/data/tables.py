"""Folders of parquet tables and one JSON file, guarded by a fingerprint of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.hashing import canonical_json

PREPARE_AGAIN = "Remove that folder from the store and run again."


class Fingerprinted(Protocol):
    """Data with a hash of everything that decides a result."""

    @property
    def fingerprint(self) -> str:
        """The sha256 of the content."""


Data = TypeVar("Data", bound=Fingerprinted)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one kind of data is stored.

    Attributes:
        what: What it is, for messages.
        format: Name and version of the format.
        json_name: Name of the JSON file.
        tables: Names of the tables; each is NAME.parquet.
    """

    what: str
    format: str
    json_name: str
    tables: tuple[str, ...]

    def write(
        self,
        data: Fingerprinted,
        folder: Path,
        tables: Mapping[str, Mapping[str, Any]],
        content: Mapping[str, Any],
    ) -> None:
        """Write columns by table and other content into an existing folder."""
        for name in self.tables:
            write_table(folder, name, tables[name])
        content = {"format": self.format, "fingerprint": data.fingerprint, **content}
        (folder / self.json_name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def read(
        self, folder: Path, assemble: Callable[[Mapping[str, pa.Table], Mapping[str, Any]], Data]
    ) -> Data:
        """Read a folder back.

        Args:
            folder: What `write` wrote.
            assemble: Builds the data from the tables by name and the other content.

        Raises:
            BenchError: The folder contains something else, or was changed since.
        """
        try:
            content = json.loads((folder / self.json_name).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != self.format:
                raise BenchError(f"{folder} does not contain {self.format}.", PREPARE_AGAIN)
            tables = {name: pq.read_table(folder / f"{name}.parquet") for name in self.tables}
            data = assemble(tables, content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{folder} does not contain {self.what}: {error}."
            raise BenchError(message, PREPARE_AGAIN) from error
        if data.fingerprint != content.get("fingerprint"):
            raise BenchError(f"The {self.what} in {folder} were changed.", PREPARE_AGAIN)
        return data


def write_table(folder: Path, name: str, columns: Mapping[str, Any]) -> None:
    """Write NAME.parquet; two-dimensional arrays become columns of lists."""
    arrays = {
        column: list(values) if isinstance(values, np.ndarray) and values.ndim > 1 else values
        for column, values in columns.items()
    }
    pq.write_table(pa.table(arrays), folder / f"{name}.parquet")


def read_arrays(folder: Path, name: str, what: str, **dtypes: type) -> list[NDArray[Any]]:
    """Read columns of NAME.parquet, in the order and types given.

    Raises:
        BenchError: The folder has no such table or column.
    """
    try:
        table = pq.read_table(folder / f"{name}.parquet", columns=list(dtypes))
        return [to_array(table[column], dtype) for column, dtype in dtypes.items()]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} does not contain {what}: {error}.", PREPARE_AGAIN) from error


def to_array(column: pa.ChunkedArray, dtype: type) -> NDArray[Any]:
    """Copy a column into an array, a column of equally long lists into a two-dimensional one."""
    if not pa.types.is_list(column.type):
        values: NDArray[Any] = column.to_numpy().astype(dtype)
        return values
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.astype(dtype).reshape(len(column), -1))


def hash_content(parts: Iterable[object]) -> str:
    """Hash arrays by value, bytes as they are and anything else as canonical JSON."""
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            is_float = np.issubdtype(part.dtype, np.floating)
            hasher.update(np.ascontiguousarray(part, dtype="<f4" if is_float else "<i8").data)
        else:
            hasher.update(
                part if isinstance(part, bytes) else canonical_json(part).encode() + b"\n"
            )
    return hasher.hexdigest()
