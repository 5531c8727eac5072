"""Statistics kept between reports, in the store: equal files under equal code, an equal answer.

    <store>/.statistics/<what>/<key>.json

A key hashes what was asked, the checksums of the results' files, the code that answers and the
libraries it computes with; so nothing kept is ever wrong, and all of it may be deleted.
"""

from __future__ import annotations

from collections import UserDict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.files import write_whole
from bench.hashing import digest
from bench.plan.code_hash import module_hash
from bench.report.table import ClaimLine

FOLDER = ".statistics"
CODE = {
    "verdicts": "bench.report.block_tests",
    "reproduction": "bench.stats.reproduction",
    "claims": "bench.report.claims.section",
}
LIBRARIES = ("numpy", "scipy")


class Kept(UserDict[Any, Any]):
    """A memory of `bench.report.significance` that outlives its process.

    Args:
        store: Folder of the store; where there is none, nothing outlives.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store

    def __contains__(self, key: object) -> bool:
        """Tell whether the answer is at hand, here or in the store."""
        path = self._path(key)
        if key not in self.data and path is not None and path.is_file():
            try:
                self.data[key] = _adapter(path.parent.name).validate_json(path.read_bytes())
            except ValidationError:  # of a kind no more: it is computed and written again
                return False
        return key in self.data

    def __setitem__(self, key: Any, value: Any) -> None:
        """Remember an answer, in the store too if it can be read back as it is."""
        self.data[key] = value
        path = self._path(key)
        if path is not None:
            adapter = _adapter(path.parent.name)
            text = adapter.dump_json(value)
            if adapter.validate_json(text) == value:
                write_whole(path, text)

    def _path(self, key: Any) -> Path | None:
        what: str = key[0]
        if what not in CODE or not self.store.is_dir():
            return None
        name = digest([*_behind(what), list(key)])
        return self.store / FOLDER / what / f"{name[:32]}.json"


@cache
def _behind(what: str) -> tuple[str, ...]:
    return module_hash(CODE[what]), *map(version, LIBRARIES)


@cache
def _adapter(what: str) -> TypeAdapter[Any]:
    from bench.report.block_tests import (
        Verdict,  # scipy: a report of bare values does not wait for it
    )
    from bench.stats.reproduction import Reproduction

    types: dict[str, Any] = {
        "verdicts": dict[str, Verdict],
        "reproduction": Reproduction,
        "claims": tuple[ClaimLine, ...],
    }
    return TypeAdapter(types[what])
