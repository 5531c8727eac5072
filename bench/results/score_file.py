"""Score rankings that were made elsewhere, straight from their files.

A ranking file has one object per case: `{"case": …, "user": …, "history": [id, …], "target": id,
"items": [id, …]}`, items best first, as JSON lines (`.jsonl`, also `.jsonl.gz`) or as parquet with
these columns. A catalog file has `id`, `title` and `categories` per item, as JSON lines, a JSON
list, parquet, CSV or TSV; in the last two, `|` separates categories. Ids are integers or text, and
7 and "7" are the same id. Further columns are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StringConstraints

from bench.data.catalog import Catalog
from bench.data.ranking import LIST_ENDS, NOT_AN_ITEM, Ranking
from bench.data.windows import PADDING
from bench.errors import BenchError, unknown
from bench.files import SEPARATORS, Id, Row, file_kind, read_rows
from bench.metrics.evaluate import Scores, evaluate
from bench.metrics.registry import get_metric, plugin_metrics
from bench.metrics.titles import Cases, merge_titles


class RankedCase(BaseModel):
    """One case of a ranking file: history, target and recommended items."""

    model_config = ConfigDict(frozen=True)

    case: Id
    user: Id
    history: tuple[Id, ...]
    target: Id
    items: tuple[Id, ...]


class CatalogItem(BaseModel):
    """One item of a catalog file."""

    model_config = ConfigDict(frozen=True)

    id: Id
    title: str
    categories: tuple[Annotated[str, StringConstraints(min_length=1)], ...]


@dataclass(frozen=True, kw_only=True)
class RankingFile:
    """The content of a ranking file.

    Attributes:
        locations: Of each case, e.g. `Line 3 of runs.jsonl`, for error messages.
    """

    cases: tuple[RankedCase, ...]
    locations: tuple[str, ...]


def read_ranking(path: Path) -> RankingFile:
    """Read a `.jsonl`, `.jsonl.gz` or `.parquet` file of rankings.

    Raises:
        BenchError: If the file cannot be read, has no case or one twice, or a row is invalid.
    """
    rows = _read_distinct(path, RankedCase, "case", (".jsonl", ".parquet"))
    return RankingFile(
        cases=tuple(row for _, row in rows), locations=tuple(location for location, _ in rows)
    )


def read_catalog(path: Path) -> Catalog:
    """Read a catalog; all its categories are tracked, in the order they first appear.

    It is a `.jsonl`, `.json`, `.csv` or `.tsv` file, each also with `.gz`, or `.parquet`.

    Raises:
        BenchError: If the file cannot be read, has no item or one twice, or a row is invalid.
    """
    kinds = (".jsonl", ".json", ".parquet", *SEPARATORS)
    items = [row for _, row in _read_distinct(path, CatalogItem, "id", kinds)]
    return Catalog(
        ids=tuple(item.id for item in items),
        titles=tuple(item.title for item in items),
        categories=tuple(item.categories for item in items),
        tracked=tuple(dict.fromkeys(name for item in items for name in item.categories)),
    )


def _read_distinct(
    path: Path, row_type: type[Row], key: str, kinds: Sequence[str]
) -> list[tuple[str, Row]]:
    """Read rows whose key column has no value twice."""
    if file_kind(path) not in kinds:
        raise BenchError(f"{path.name} is of no supported kind.", f"Supported: {', '.join(kinds)}.")
    rows = read_rows(path, row_type)
    first: dict[str, str] = {}
    for location, row in rows:
        value = getattr(row, key)
        if value in first:
            raise BenchError(f"{location}: the {key} {value!r} repeats.", f"First: {first[value]}.")
        first[value] = location
    return rows


def score_ranking(
    file: RankingFile,
    catalog: Catalog | None,
    ks: Sequence[int],
    tracked: Sequence[str] | None = None,
    *,
    group_titles: bool = True,
) -> dict[str, float]:
    """Compute every metric that the files allow, by name, at each list length from 1.

    A recommended id that is not in the catalog counts as hallucinated; a target that is not in it
    makes its case unknown (see `bench.metrics.evaluate`). Without a catalog, the ids of the file
    are used as one; metrics that need the complete catalog are left out. All categories of the
    catalog are tracked unless some are named.

    Raises:
        BenchError: If a list is shorter than a k, or a tracked category does not exist.
    """
    k = max(ks, default=0)
    for location, case in zip(file.locations, file.cases, strict=True):
        if len(case.items) < k:
            message = f"{location}: case {case.case!r} has {len(case.items)} items, but k is {k}."
            raise BenchError(message, f"Rank at least {k} items per case or choose a smaller k.")
    if catalog is None:
        if tracked is not None:
            message = "Categories can be tracked only with a catalog."
            raise BenchError(message, "Add a catalog file with the categories of each item.")
        metrics = evaluate_file(file, collect_items([file]), ks)[1].metrics
        return {
            name: value for name, value in metrics.items() if not get_metric(name).needs_catalog
        }
    if tracked is not None:
        if not tracked or len(set(tracked)) < len(tracked):
            message = f"The tracked categories are {list(tracked)}."
            raise BenchError(message, "Name at least one, each only once.")
        catalog = track_categories(catalog, tracked)
    return evaluate_file(file, catalog, ks, group_titles=group_titles)[1].metrics


def evaluate_file(
    file: RankingFile, catalog: Catalog, ks: Sequence[int], *, group_titles: bool = True
) -> tuple[Cases, Scores]:
    """Evaluate a ranking file; the cases are as they were scored, -1 for ids not in the catalog.

    Raises:
        BenchError: Items of one title leave a list too short.
    """
    index_of = {id_: index for index, id_ in enumerate(catalog.ids)}
    items = index_items([case.items for case in file.cases], index_of, LIST_ENDS)
    cases = Cases(
        Ranking(items=items),
        index_items([(case.target,) for case in file.cases], index_of)[:, 0],
        index_items([case.history for case in file.cases], index_of),
        catalog,
    )
    if group_titles:
        cases = merge_titles(cases)
        num_items, num_titles = (
            (lists != LIST_ENDS).sum(axis=1) for lists in (items, cases.ranking.items)
        )
        if (short := (num_titles < max(ks)) & (num_items >= max(ks))).any():
            row = int(short.argmax())
            raise BenchError(
                f"{file.locations[row]}: the items of case {file.cases[row].case!r} have "
                f"{num_titles[row]} titles, but k is {max(ks)}.",
                "Rank more items, choose a smaller k, or score by item.",
            )
    return cases, evaluate(**cases._asdict(), ks=ks, plugins=plugin_metrics().values())


def index_items(
    lists: Sequence[tuple[str, ...]], index_of: Mapping[str, int], padding: int = PADDING
) -> NDArray[np.int32]:
    """Return the index of each item of N lists, padded to their longest; -1 for unknown ones."""
    indices = np.full((len(lists), max(map(len, lists))), padding, dtype=np.int32)
    for row, ids in zip(indices, lists, strict=True):
        row[: len(ids)] = [index_of.get(id_, NOT_AN_ITEM) for id_ in ids]
    return indices


def collect_items(files: Sequence[RankingFile]) -> Catalog:
    """Make a catalog of all ids in ranking files, for metrics that need no complete catalog."""
    ids: dict[str, None] = {}
    for case in (case for file in files for case in file.cases):
        ids.update(dict.fromkeys((*case.history, case.target, *case.items)))
    return Catalog(ids=tuple(ids), titles=("",) * len(ids), categories=((),) * len(ids))


def track_categories(catalog: Catalog, names: Sequence[str]) -> Catalog:
    """Set the categories that fairness metrics track, in this order; an unknown one is refused."""
    existing = {name for categories in catalog.categories for name in categories}
    for name in names:
        if name not in existing:
            raise unknown("category", name, existing)
    return replace(catalog, tracked=tuple(names))
