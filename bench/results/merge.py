"""Results of several machines become one folder, whole or not at all.

Everything is read and checked before anything is written. What does not fit is refused with both
files named: a folder that holds results of two editions of the data, or of two versions of the
code under one trial, makes tables that compare what cannot be compared.

A trial that failed here and ended well there counts as the latter; a failure says nothing about
numbers. Records of boards that differ only in what was narrowed (rows, data sets, seeds) are
joined, because dividing a board among machines is what merging is for; records that differ
otherwise are refused, because a page has one budget and one list of metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.config.cards import BoardCard
from bench.config.toml import check_card
from bench.errors import BenchError
from bench.files import write_whole
from bench.results.run_records import BOARDS
from bench.results.schema import BESIDE, Result, is_whole, path_beside, read_result

SHOWN_DIGITS = 12
RANK = {"ok": 2, "failed": 1, "skipped": 0}


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge did.

    Attributes:
        trials: Trials in the merged folder.
        copied: Those of them that were written now.
        twice: Times that a trial was there again and equal, or worse off.
        boards: Records of boards in the merged folder, by name.
        aside: Files that belong to no result and were left where they are.
    """

    trials: int
    copied: int
    twice: int
    boards: tuple[str, ...]
    aside: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class _Found:
    folder: Path
    path: Path
    result: Result

    def beside(self, name: str) -> Path:
        return path_beside(self.folder, self.result.trial, name)

    @property
    def files(self) -> list[Path]:
        """Its files, the JSON last: a result that is there has its cases beside it."""
        ok = self.result.status == "ok"
        return [*(self.beside(name) for name in BESIDE if ok), self.path]


def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Merge folders of results.

    Args:
        sources: Results folders, as `bench run --results` writes them.
        into: Where they become one; what is there already takes part and stays.

    Raises:
        BenchError: If a folder holds no results, a file is torn, edited, of another schema version
            or not where its trial belongs, or two results do not fit together. Nothing is written
            then.
    """
    folders = list({folder.resolve(): folder for folder in (into, *sources)}.values())
    chosen: dict[str, _Found] = {}
    twice = 0
    aside: list[Path] = []
    for folder in folders:
        found, loose = _read(folder)
        if not found and folder.resolve() != into.resolve():
            raise BenchError(f"There are no results in {folder}.", "Give folders of results.")
        aside += loose
        for one in found:
            if (known := chosen.get(one.result.trial)) is not None:
                twice += 1
                one = _better(known, one)
            chosen[one.result.trial] = one
    _require_one_data(chosen.values())
    records = _records(folders)
    written = [one for one in chosen.values() if one.folder.resolve() != into.resolve()]
    for one in written:
        for path in one.files:
            write_whole(into / path.relative_to(one.folder), path.read_bytes())
    for name, content in records.items():
        path = into / BOARDS / f"{name}.json"
        data = (json.dumps(content, indent=1) + "\n").encode()
        if not path.is_file() or path.read_bytes() != data:
            write_whole(path, data)
    return Merged(
        trials=len(chosen),
        copied=len(written),
        twice=twice,
        boards=tuple(records),
        aside=tuple(aside),
    )


def _read(folder: Path) -> tuple[list[_Found], list[Path]]:
    """Read and check all results of a folder; the second list has the files that belong to none."""
    found, claimed = [], set()
    paths = [path for path in sorted(folder.glob("*/*/*/*")) if path.is_file()]
    for path in paths:
        if path.suffix != ".json" or path.name.startswith("."):
            continue
        one = _Found(folder=folder, path=path, result=read_result(path))
        trial = path.relative_to(folder).with_suffix("").as_posix()
        if one.result.trial != trial:
            raise BenchError(
                f"{path} is the result of {one.result.trial}, which belongs elsewhere.",
                "Results lie at <dataset>/<method>/<hash>/seed-<n>.json: move it there.",
            )
        _require_whole(one)
        claimed |= set(one.files)
        found.append(one)
    return found, [path for path in paths if path not in claimed]


def _require_whole(one: _Found) -> None:
    if one.result.status != "ok":
        return
    for path in (one.beside(name) for name in BESIDE):
        if not path.is_file():
            raise BenchError(
                f"{one.path} says ok, but {path.name} is missing beside it.",
                "Copy the whole folder, or run this trial again.",
            )
        try:
            lines = pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise BenchError(f"{path} is torn: {error}.", "Copy it again.") from error
        stated = {evaluation.num_cases for evaluation in one.result.evaluations.values()}
        if lines not in stated or one.result.data is None:
            raise BenchError(
                f"{one.path} and {path.name} beside it do not belong together: {lines} lines where "
                f"the result has {sorted(stated)} cases.",
                "Copy the whole folder, or run this trial again.",
            )
    # Results written before there were checksums have none to hold their files against.
    if one.result.files and not is_whole(one.result, one.folder):
        raise BenchError(
            f"{one.path} and the files beside it do not belong together: their checksums differ.",
            "They were edited or torn: copy the whole folder, or run this trial again.",
        )


def _better(known: _Found, again: _Found) -> _Found:
    """Choose between two results of one trial that do not contradict each other; else refuse."""
    mine, theirs = known.result, again.result
    if mine.status != "ok" or theirs.status != "ok":
        return again if RANK[theirs.status] > RANK[mine.status] else known
    _require_equal_data(known, again)
    if _identity(mine) != _identity(theirs):
        raise _refusal(known, again, "have other settings under one name", "One was edited.")
    if [stage.key for stage in mine.stages] != [stage.key for stage in theirs.stages]:
        raise _refusal(
            known,
            again,
            "were made by other code: their stages have other keys",
            "Run both with one version of the benchmark, or keep them in two folders.",
        )
    different = _different_metrics(mine, theirs)
    if different or not all(_equal_tables(known, again, name) for name in BESIDE):
        what = different or "values per case"
        raise _refusal(
            known,
            again,
            f"are the same work with other numbers: {what}",
            "Hardware that adds in another order does that; keep one of the two.",
        )
    return known


def _identity(result: Result) -> tuple[Any, ...]:
    return result.settings, result.model, result.rows, result.seed, result.method


def _different_metrics(mine: Result, theirs: Result) -> str:
    for name in sorted(mine.evaluations.keys() | theirs.evaluations.keys()):
        one, other = mine.evaluations.get(name), theirs.evaluations.get(name)
        if one is None or other is None:
            return f"only one has the checkpoint {name!r}"
        for metric in sorted(one.metrics.keys() | other.metrics.keys()):
            if one.metrics.get(metric) != other.metrics.get(metric):
                return f"{metric} is {one.metrics.get(metric)} and {other.metrics.get(metric)}"
        if one != other:
            return f"the sizes or categories of {name!r} differ"
    return ""


def _equal_tables(known: _Found, again: _Found, name: str) -> bool:
    # Contents, not bytes: another version of pyarrow writes other bytes.
    one, other = pq.read_table(known.beside(name)), pq.read_table(again.beside(name))
    return bool(one.equals(other))


def _require_one_data(found: Iterable[_Found]) -> None:
    first: dict[tuple[str, str], _Found] = {}
    for one in found:
        if one.result.data is not None:
            rows = json.dumps(one.result.rows, sort_keys=True)
            _require_equal_data(first.setdefault((one.result.dataset, rows), one), one)


def _require_equal_data(known: _Found, again: _Found) -> None:
    assert known.result.data is not None
    assert again.result.data is not None
    mine, theirs = known.result.data.fingerprint, again.result.data.fingerprint
    if mine != theirs:
        raise _refusal(
            known,
            again,
            f"were measured on different data (fingerprints {mine[:SHOWN_DIGITS]} and "
            f"{theirs[:SHOWN_DIGITS]})",
            "Give both machines the same raw files and run one of them again.",
        )


def _refusal(known: _Found, again: _Found, what: str, hint: str) -> BenchError:
    return BenchError(f"{known.path} and {again.path} {what}.", f"{hint} Nothing was merged.")


def _records(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    joined: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        for path in sorted((folder / BOARDS).glob("*.json")):
            content = _record(path)
            if path.stem in joined:
                first, known = joined[path.stem]
                content = _joined(first, known, path, content)
                path = first
            joined[path.stem] = path, content
    return {name: content for name, (_, content) in sorted(joined.items())}


def _record(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        card = check_card(content["card"], BoardCard, str(path))
        return {**content, "card": card.model_dump(mode="json")}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path} is torn or was edited: {error}.", "Move it away; results do not need it."
        ) from error


def _joined(
    first: Path, known: Mapping[str, Any], path: Path, again: Mapping[str, Any]
) -> dict[str, Any]:
    """Join two records of one board: rows, data sets and seeds of both."""
    mine, theirs = dict(known["card"]), dict(again["card"])
    card = dict(mine)
    card["datasets"] = list(dict.fromkeys([*mine["datasets"], *theirs["datasets"]]))
    card["rows"] = [*mine["rows"], *(row for row in theirs["rows"] if row not in mine["rows"])]
    card["seeds"] = max(mine["seeds"], theirs["seeds"])
    # A board that was narrowed to rows without its reference has none.
    card["reference"] = mine["reference"] or theirs["reference"]
    others = {**theirs, **{name: card[name] for name in ("datasets", "rows", "seeds")}}
    others["reference"] = theirs["reference"] or mine["reference"]
    if others != card or {**known, "card": 0} != {**again, "card": 0}:
        raise BenchError(
            f"{first} and {path} are records of different boards under one name.",
            "Move one of them away: results do not need it, only `bench report` without a "
            "selection does. Nothing was merged.",
        )
    return {
        **known,
        "card": check_card(card, BoardCard, f"{first} with {path}").model_dump(mode="json"),
    }
