"""Results: one schema-checked JSON per trial, with its per-case values and ranking as parquet.

    <results>/<dataset>/<method>/<hash>/seed-<n>.json             this schema
    <results>/<dataset>/<method>/<hash>/seed-<n>.cases.parquet    one row per test case
    <results>/<dataset>/<method>/<hash>/seed-<n>.ranking.parquet  case and item ids, best first

They contain case numbers and item ids only, no titles and no histories, so that they may be
published where the data may not. Set-level metrics can be resampled from the category masses of
lists and histories and the items of the ranking.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BenchError, printable
from bench.files import write_atomic
from bench.hashing import checksum, digest

SCHEMA_VERSION = 3
TABLES = ("cases", "ranking")
FINAL = "final"
COPY_HINT = "Copy the whole folder, or run this trial again."
MEAN_TOLERANCE = 1e-9
"""Between a metric and the mean of its values per case, of which both are written in full."""


class SchemaVersionError(BenchError):
    """A result of another schema version."""


class _Record(BaseModel):
    # JSON has no NaN: one would be written as null, and the file could not be read again.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Attempt(_Record):
    """One failed attempt at a unit of work, and what was done about it."""

    failure: Literal["error", "worker died", "out of memory", "timeout"]
    message: str
    stage: str = Field("", description="Kind of the stage that failed, where known")
    micro_batch_divisor: int = Field(
        1,
        ge=1,
        description="Global batches were split into micro-batches smaller by this factor",
    )


class StageRecord(_Record):
    """Cost and logged metrics of one stage."""

    key: str
    kind: str
    seconds: float = Field(ge=0, description="Wall-clock time of the run that made the artifact")
    peak_memory_mib: float = Field(ge=0, description="Peak resident memory of its process")
    shared: bool = Field(description="Whether other trials of the run needed it too")
    version: int | None = Field(
        None, ge=1, description="Of its kind; null where its code is not recorded as any version's"
    )
    gpu: str = Field("", description="Name of the GPU that computed it; empty for a CPU")
    metadata: dict[str, Any] = {}


class Cost(_Record):
    """Seconds of all stages of the trial, and of those that no other trial of the run shared."""

    seconds_from_scratch: float = Field(ge=0)
    seconds_own: float = Field(ge=0)


class Evaluation(_Record):
    """Metric values of one ranking."""

    metrics: dict[str, float]
    ks: list[int]
    num_cases: int = Field(ge=1, description="n: all test cases")
    num_known: int = Field(ge=0, description="m: cases whose target is in the catalog")
    num_items: int = Field(ge=1, description="Size of the catalog, in titles if scored by title")
    num_ids: int | None = Field(
        None, ge=1, description="Its size in items, of which several may share a title"
    )
    tracked: list[str] = Field(description="Category names of the mass vectors")


class DataFacts(_Record):
    """Which prepared data the trial ran on; only results with equal fingerprints compare."""

    fingerprint: str
    counts: dict[str, int]


class Result(_Record):
    """One trial's result."""

    schema_version: Literal[3] = 3
    trial: str
    method: str
    dataset: str
    seed: int
    model: str | None
    rows: dict[str, int | None]
    settings: dict[str, Any]
    status: Literal["ok", "failed", "skipped"]
    reason: str = ""
    attempts: list[Attempt] = []
    data: DataFacts | None = None
    evaluations: dict[str, Evaluation] = {}
    stages: list[StageRecord] = []
    files: dict[str, str] = Field({}, description="sha256 of its parquet files")
    cost: Cost | None = None
    provenance: dict[str, str] = {}
    plugins: dict[str, str] = Field({}, description="Hash of the code of each plug-in module")
    checksum: str = Field("", description="Hash of all other fields")

    @property
    def all_settings(self) -> dict[str, Any]:
        """The method's settings, with the seed and the rows."""
        rows = {f"rows.{split}": num for split, num in self.rows.items()}
        return {**self.settings, "seed": self.seed, **rows}

    @property
    def settings_hash(self) -> str:
        """Hash of the settings, as in the trial's id; empty where the id has none."""
        return self.trial.split("/")[-2] if self.trial.count("/") >= 2 else ""


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """Per-case values of one result.

    Attributes:
        cases: Case ids, C of them; users: the user of each.
        masses: Category mass of each case's top-k list by k, each of shape (C, tracked).
        histories: Category mass of each case's history, shape (C, tracked).
        items: Item ids, best first, shape (C, D); None where a text matches no item.
        strata: Stratum of each case, shape (C,), by kind; see `bench.data.case_strata`.
    """

    cases: tuple[str, ...]
    users: tuple[str, ...]
    known: NDArray[np.bool_]
    values: Mapping[str, NDArray[np.float64]]
    masses: Mapping[int, NDArray[np.float64]]
    histories: NDArray[np.float64]
    items: NDArray[np.object_]
    strata: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


def write_result(result: Result, folder: Path) -> Path:
    """Write a result's JSON with its checksum, atomically; returns its path."""
    path = folder / f"{result.trial}.json"
    sealed = result.model_copy(update={"checksum": _digest(result.model_dump_json())})
    write_atomic(path, sealed.model_dump_json(indent=1).encode() + b"\n")
    return path


def copy_result(result: Result, source: Path, target: Path) -> None:
    """Copy the files of a result to another folder of results."""
    for path in list_files(result, source):
        write_atomic(target / path.relative_to(source), path.read_bytes())


def list_files(result: Result, folder: Path) -> list[Path]:
    """List the files of a result, the JSON last: a result that exists always has its tables."""
    tables = TABLES if result.status == "ok" else ()
    paths = [table_path(folder, result.trial, name) for name in tables]
    return [*paths, folder / f"{result.trial}.json"]


def _digest(content: str | bytes) -> str:
    return digest({**json.loads(content), "checksum": ""})


def read_result(path: Path) -> Result:
    """Read and check one result.

    Raises:
        BenchError: If the file is torn or was edited, does not match the schema or is of another
            version.
    """
    hint = "Move it away and run again; finished stages are reused."
    try:
        content = path.read_bytes()
        result = Result.model_validate_json(content)
        # Results written before there were checksums have none to compare.
        if result.checksum and result.checksum != _digest(content):
            raise BenchError(f"{path} is not what was written: its checksum differs.", hint)
        return result
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}.", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        error_type = SchemaVersionError if where == "schema_version" else BenchError
        raise error_type(
            f"{path} is not a result of schema version {SCHEMA_VERSION}: {where}: {first['msg']}.",
            hint,
        ) from error


def find_result(folder: Path, trial: str) -> Result | None:
    """Return a trial's result; None where it has none."""
    path = folder / f"{trial}.json"
    return read_result(path) if path.is_file() else None


def table_path(folder: Path, trial: str, name: str) -> Path:
    """Return the path of a trial's "cases" or "ranking" table."""
    return folder / f"{trial}.{name}.parquet"


def is_intact(result: Result, folder: Path) -> bool:
    """Tell whether the tables of a result are those that were written with it."""
    paths = {name: table_path(folder, result.trial, name) for name in TABLES}
    return all(
        path.is_file() and checksum(path) == result.files.get(name) for name, path in paths.items()
    )


def check_tables(result: Result, folder: Path) -> None:
    """Check the tables of a result that says ok.

    Raises:
        BenchError: One is missing or torn, is not what was written with the result, or its columns
            do not have the metrics as their means.
    """
    path = folder / f"{result.trial}.json"
    for table in (table_path(folder, result.trial, name) for name in TABLES):
        if not table.is_file():
            raise BenchError(f"{path} says ok, but {table.name} is missing.", COPY_HINT)
        try:
            num_rows = pq.read_metadata(table).num_rows
        except (OSError, pa.ArrowException) as error:
            reason = printable(error).rstrip(".")
            raise BenchError(f"{table} is torn: {reason}.", "Copy it again.") from error
        num_cases = {evaluation.num_cases for evaluation in result.evaluations.values()}
        if num_rows not in num_cases or result.data is None:
            raise BenchError(
                f"{path} and {table.name} do not belong together: {num_rows} rows where the "
                f"result has {sorted(num_cases)} cases.",
                COPY_HINT,
            )
    # Results written before there were checksums have none to compare.
    if result.files and not is_intact(result, folder):
        message = f"{path} and its tables do not belong together: their checksums differ."
        raise BenchError(message, f"They were edited or torn. {COPY_HINT}")
    metrics = result.evaluations[FINAL].metrics if FINAL in result.evaluations else {}
    for name, mean in _column_means(table_path(folder, result.trial, "cases"), metrics):
        if abs(mean - metrics[name]) > MEAN_TOLERANCE:
            raise BenchError(
                f"{path} says {name} {metrics[name]}, but its values per case have the mean "
                f"{mean}.",
                "Run it again; finished stages are reused.",
            )


def _column_means(table: Path, names: Iterable[str]) -> Iterator[tuple[str, float]]:
    try:
        with pq.ParquetFile(table) as file:
            columns = file.read([name for name in names if name in file.schema_arrow.names])
            for name, column in zip(columns.column_names, columns.itercolumns(), strict=True):
                yield name, float(column.to_numpy().astype(np.float64).mean())
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise BenchError(
            f"{table} has no numbers per case: {printable(error)}.", COPY_HINT
        ) from error


def move_aside(path: Path, folder: Path, why: str) -> None:
    """Move a file that cannot be used to `.aside`, and say so on standard error."""
    target = folder / ".aside" / f"{path.name}.{secrets.token_hex(4)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    print(f"{why} Moved to {target}.", file=sys.stderr)


def read_cases(folder: Path, trial: str) -> CaseTable:
    """Read the per-case values and the ranking of a trial that succeeded.

    Raises:
        BenchError: If a file is missing or torn.
    """
    try:
        cases = pq.read_table(table_path(folder, trial, "cases"))
        ranking = pq.read_table(table_path(folder, trial, "ranking"))
        names = cases.column_names
        vectors = {
            name: np.array(cases[name].to_pylist(), dtype=np.float64)
            for name in names
            if name == "history" or name.startswith("mass@")
        }
        histories = vectors.pop("history", np.zeros((len(cases), 0)))
        masses = {int(name.removeprefix("mass@")): mass for name, mass in vectors.items()}
        fixed = {"case", "user", "known", "rank", "history"}
        values = {
            name: cases[name].to_numpy().astype(np.float64)
            for name in names
            if name not in fixed and not name.startswith(("mass@", "stratum:"))
        }
        return CaseTable(
            cases=tuple(cases["case"].to_pylist()),
            users=tuple(cases["user"].to_pylist()),
            known=cases["known"].to_numpy(),
            values=values,
            masses=masses,
            histories=histories,
            items=np.array(ranking["items"].to_pylist(), dtype=object),
            strata={
                name.removeprefix("stratum:"): np.array(cases[name].to_pylist(), dtype=np.str_)
                for name in names
                if name.startswith("stratum:")
            },
        )
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        message = f"The per-case values of {trial} cannot be read: {printable(error)}."
        raise BenchError(message, "Run the same command again.") from error
