"""Statistics kept between reports: equal files under equal code give an equal answer.

    <store>/.statistics/<kind>/<key>.json    checksum of the second line, and the answer

A key hashes the question, the contents of the results, the code that answers and the libraries it
computes with, so that no stored answer is ever wrong, and all may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import UserDict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.files import write_atomic
from bench.hashing import digest
from bench.plan.code_hash import module_hash
from bench.report.block_tests import RowTest
from bench.report.table import ClaimLine, Lead, Stratification
from bench.stats.contrasts import Estimate
from bench.stats.reproduction import Reproduction

FOLDER = ".statistics"
CODE = {
    "verdicts": "bench.report.block_tests",
    "gains": "bench.report.block_tests",
    "means": "bench.report.block_tests",
    "reproduction": "bench.stats.reproduction",
    "checks": "bench.report.checks",
    "claims": "bench.report.claims.section",
}
LIBRARIES = ("numpy", "scipy")


class StoredStatistics(UserDict[Any, Any]):
    """A statistics cache that outlives its process.

    Args:
        store: Folder of the store; where it does not exist, nothing is written.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store

    def __contains__(self, key: object) -> bool:
        """Tell whether the answer is available, in memory or in the store."""
        path = self._path(key)
        if key not in self.data and path is not None and path.is_file():
            try:
                seal, _, text = path.read_bytes().partition(b"\n")
                if seal == _seal(text):
                    self.data[key] = _adapter(path.parent.name).validate_json(text)
            except (ValidationError, OSError):  # of an older type: computed and written again
                return False
        return key in self.data

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep an answer, in the store too if it can be read back unchanged."""
        self.data[key] = value
        path = self._path(key)
        if path is not None:
            adapter = _adapter(path.parent.name)
            text = adapter.dump_json(value)
            if adapter.validate_json(text) == value:
                with contextlib.suppress(OSError):  # a read-only or full store keeps nothing
                    write_atomic(path, _seal(text) + b"\n" + text)

    def _path(self, key: Any) -> Path | None:
        kind: str = key[0]
        if kind not in CODE or not self.store.is_dir():
            return None
        name = digest([*_code_and_libraries(kind), list(key)])
        return self.store / FOLDER / kind / f"{name[:32]}.json"


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


@cache
def _code_and_libraries(kind: str) -> tuple[str, ...]:
    return module_hash(CODE[kind]), *map(version, LIBRARIES)


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    types: dict[str, Any] = {
        "verdicts": dict[str, RowTest],
        "gains": dict[str, Estimate],
        "means": dict[str, Estimate],
        "reproduction": Reproduction,
        "checks": tuple[Lead, tuple[Stratification, ...]],
        "claims": tuple[ClaimLine, ...],
    }
    return TypeAdapter(types[kind])
