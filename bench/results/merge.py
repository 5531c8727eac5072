"""Merging the results of several machines into one folder, completely or not at all.

Everything is read and checked before anything is written. Results that do not fit are refused with
both files named: two editions of the data, or two versions of the code for one trial, would make
tables of incomparable values.

A trial that failed on one machine and succeeded on another counts as the latter; a failure says
nothing about values. Records of a board that differ only in their selection (rows, data sets,
seeds) are joined, because boards are divided among machines that way; other differences are
refused, because a page has one budget and one list of metrics.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench.config.cards import BoardCard
from bench.config.toml import check_card
from bench.errors import BenchError
from bench.files import write_atomic
from bench.results.load import load_results
from bench.results.run_records import BOARDS
from bench.results.schema import Result, check_tables, list_files

NUM_HASH_DIGITS = 12
STATUS_ORDER = ("skipped", "failed", "ok")


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a merge did.

    Duplicates are results that were equal to another one, or worse; unassigned files belong to no
    result and were not copied.
    """

    num_trials: int
    num_copied: int
    num_duplicates: int
    boards: tuple[str, ...]
    unassigned: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A result in one of the folders."""

    folder: Path
    result: Result

    @property
    def path(self) -> Path:
        return self.folder / f"{self.result.trial}.json"

    @property
    def files(self) -> list[Path]:
        return list_files(self.result, self.folder)


def merge(sources: Sequence[Path], into: Path) -> MergeSummary:
    """Merge folders of results; what the merged folder already has takes part and stays.

    Raises:
        BenchError: If a folder has no results, a file is torn, edited, of another schema version or
            misplaced, or two results do not fit together. Nothing is written then.
    """
    folders = list({folder.resolve(): folder for folder in (into, *sources)}.values())
    merged: dict[str, _Source] = {}
    num_duplicates = 0
    unassigned: list[Path] = []
    for folder in folders:
        results = _read_folder(folder)
        if not results and folder.resolve() != into.resolve():
            raise BenchError(f"There are no results in {folder}.", "Give folders of results.")
        files = {path for result in results for path in result.files}
        stored = (path for path in sorted(folder.glob("*/*/*/*")) if path.is_file())
        unassigned += [path for path in stored if path not in files]
        for result in results:
            trial = result.result.trial
            num_duplicates += trial in merged
            merged[trial] = _choose(merged[trial], result) if trial in merged else result
    _require_equal_data(merged.values())
    records = _join_records(folders)
    new = [source for source in merged.values() if source.folder.resolve() != into.resolve()]
    copies = [(path.relative_to(source.folder), path) for source in new for path in source.files]
    contents = {
        Path(BOARDS, f"{name}.json"): (json.dumps(content, indent=1) + "\n").encode()
        for name, content in records.items()
    }
    _write(into, copies, contents)
    return MergeSummary(
        num_trials=len(merged),
        num_copied=len(new),
        num_duplicates=num_duplicates,
        boards=tuple(records),
        unassigned=tuple(unassigned),
    )


def _write(into: Path, files: Sequence[tuple[Path, Path]], contents: Mapping[Path, bytes]) -> None:
    """Write everything into a folder next to the merged one, then move it there.

    Paths and contents are by path relative to the merged folder; a result's JSON is after its
    tables.
    """
    staged = into.with_name(f".{into.name}.merging")
    shutil.rmtree(staged, ignore_errors=True)  # of a merge that was killed
    try:
        for relative, source in files:
            write_atomic(staged / relative, source.read_bytes())
        for relative, content in contents.items():
            write_atomic(staged / relative, content)
        if not into.exists():
            into.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(into)
            return
        for relative in (*(relative for relative, _ in files), *contents):
            (into / relative).parent.mkdir(parents=True, exist_ok=True)
            (staged / relative).replace(into / relative)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _read_folder(folder: Path) -> list[_Source]:
    """Read and check all results of a folder."""
    results = load_results(folder)
    for error in results.unreadable.values():
        raise error
    sources = [_Source(folder=folder, result=result) for result in results]
    for source in sources:
        if source.result.status == "ok" and not source.result.files:  # others were checked
            check_tables(source.result, folder)
    return sources


def _choose(first: _Source, second: _Source) -> _Source:
    """Choose between two results of one trial that do not contradict each other.

    Raises:
        BenchError: If they do.
    """
    a, b = first.result, second.result
    if a.status != "ok" or b.status != "ok":
        better = STATUS_ORDER.index(b.status) > STATUS_ORDER.index(a.status)
        return second if better else first
    _require_equal_data([first, second])
    if _identity(a) != _identity(b):
        raise _refusal(first, second, "have other settings under one name", "One was edited.")
    if [stage.key for stage in a.stages] != [stage.key for stage in b.stages]:
        what = "were made by other code: their stages have other keys"
        hint = "Run both with one version of the benchmark, or keep them in two folders."
        raise _refusal(first, second, what, hint)
    difference = _first_difference(a, b)
    # Contents, not bytes: another version of pyarrow writes other bytes.
    tables = zip(first.files[:-1], second.files[:-1], strict=True)
    if not difference and not all(pq.read_table(x).equals(pq.read_table(y)) for x, y in tables):
        difference = "values per case"
    if difference:
        what = f"are the same work with other numbers: {difference}"
        hint = "Hardware that adds in another order does that; keep one of the two."
        raise _refusal(first, second, what, hint)
    return first


def _identity(result: Result) -> tuple[Any, ...]:
    return result.settings, result.model, result.rows, result.seed, result.method


def _first_difference(a: Result, b: Result) -> str:
    for ranking in sorted(a.evaluations.keys() | b.evaluations.keys()):
        first, second = a.evaluations.get(ranking), b.evaluations.get(ranking)
        if first is None or second is None:
            return f"only one has the checkpoint {ranking!r}"
        for metric in sorted(first.metrics.keys() | second.metrics.keys()):
            values = first.metrics.get(metric), second.metrics.get(metric)
            if values[0] != values[1]:
                return f"{metric} is {values[0]} and {values[1]}"
        if first != second:
            return f"the sizes or categories of {ranking!r} differ"
    return ""


def _require_equal_data(sources: Iterable[_Source]) -> None:
    """Require one fingerprint per data set and number of rows."""
    first_of: dict[tuple[str, str], _Source] = {}
    for source in sources:
        data = source.result.data
        if data is None:
            continue
        rows = json.dumps(source.result.rows, sort_keys=True)
        first = first_of.setdefault((source.result.dataset, rows), source)
        assert first.result.data is not None
        if first.result.data.fingerprint != data.fingerprint:
            a, b = (each.fingerprint[:NUM_HASH_DIGITS] for each in (first.result.data, data))
            what = f"were measured on different data (fingerprints {a} and {b})"
            hint = "Give both machines the same raw files and run one of them again."
            raise _refusal(first, source, what, hint)


def _refusal(first: _Source, second: _Source, what: str, hint: str) -> BenchError:
    return BenchError(f"{first.path} and {second.path} {what}.", f"{hint} Nothing was merged.")


def _join_records(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Join the records of boards in all folders, by the board's name."""
    joined: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        for path in sorted((folder / BOARDS).glob("*.json")):
            record = _read_record(path)
            if path.stem in joined:
                first_path, first = joined[path.stem]
                joined[path.stem] = first_path, _join_pair(first_path, first, path, record)
            else:
                joined[path.stem] = path, record
    return {name: record for name, (_, record) in sorted(joined.items())}


def _read_record(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        card = check_card(content["card"], BoardCard, str(path))
        return {**content, "card": card.model_dump(mode="json")}
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is torn or was edited: {error}."
        raise BenchError(message, "Move it away; results do not need it.") from error


def _join_pair(
    path_a: Path, record_a: Mapping[str, Any], path_b: Path, record_b: Mapping[str, Any]
) -> dict[str, Any]:
    """Join two records of one board: rows, data sets and seeds of both."""
    a, b = record_a["card"], record_b["card"]
    selection = {
        "datasets": list(dict.fromkeys([*a["datasets"], *b["datasets"]])),
        "rows": [*a["rows"], *(row for row in b["rows"] if row not in a["rows"])],
        "seeds": max(a["seeds"], b["seeds"]),
    }
    # A board that was narrowed to rows without its reference has none.
    card = {**a, **selection, "reference": a["reference"] or b["reference"]}
    other = {**b, **selection, "reference": b["reference"] or a["reference"]}
    if other != card or {**record_a, "card": 0} != {**record_b, "card": 0}:
        raise BenchError(
            f"{path_a} and {path_b} are records of different boards under one name.",
            "Move one of them away: results do not need it, only `bench report` without a "
            "selection does. Nothing was merged.",
        )
    checked = check_card(card, BoardCard, f"{path_a} with {path_b}")
    return {**record_a, "card": checked.model_dump(mode="json")}
