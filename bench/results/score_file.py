"""Score rankings that were made elsewhere, straight from their files.

A ranking file holds one object a case: `{"case": …, "user": …, "history": [id, …], "target": id,
"items": [id, …]}`, items best first, as JSON lines (`.jsonl`, also `.jsonl.gz`) or as parquet with
these columns. A catalog file holds `id`, `title` and `categories` an item, as JSON lines, a JSON
list, parquet, CSV or TSV; in the last two `|` stands between categories. Ids are integers or text,
and 7 and "7" are the same id. Further columns are left unread.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from bench.files import SEPARATORS, Id, file_kind, read_rows
from bench.metrics.evaluate import Scores, evaluate
from bench.metrics.registry import get_metric, plugin_metrics


class RankedCase(BaseModel):
    """One case of a ranking file: what was seen, what came next, and what was recommended."""

    model_config = ConfigDict(frozen=True)

    case: Id
    user: Id
    history: tuple[Id, ...]
    target: Id
    items: tuple[Id, ...]


class ListedItem(BaseModel):
    """One item of a catalog file."""

    model_config = ConfigDict(frozen=True)

    id: Id
    title: str
    categories: tuple[Annotated[str, StringConstraints(min_length=1)], ...]


@dataclass(frozen=True, kw_only=True)
class RankingFile:
    """A ranking file as it was read.

    Attributes:
        cases: The cases in the file's order, each with a name of its own; never empty.
        places: Where each case stands, e.g. `Line 3 of runs.jsonl`, for messages about it.
    """

    cases: tuple[RankedCase, ...]
    places: tuple[str, ...]


def read_ranking(path: Path) -> RankingFile:
    """Read a ranking file.

    Args:
        path: A `.jsonl`, `.jsonl.gz` or `.parquet` file.

    Raises:
        BenchError: The file cannot be read, holds no case, holds one twice, or has a line without
            the keys and types above.
    """
    if file_kind(path) not in (".jsonl", ".parquet"):
        raise BenchError(
            f"{path.name} is no ranking file.", "Give a .jsonl, .jsonl.gz or .parquet file."
        )
    placed = read_rows(path, RankedCase)
    _check_distinct("case", [(place, row.case) for place, row in placed])
    return RankingFile(
        cases=tuple(row for _, row in placed), places=tuple(place for place, _ in placed)
    )


def read_catalog(path: Path) -> Catalog:
    """Read a catalog file; all its categories are tracked, in the order they first appear.

    Args:
        path: A `.jsonl`, `.json`, `.csv` or `.tsv` file, each also with `.gz`, or `.parquet`.

    Raises:
        BenchError: The file cannot be read, holds no item, holds one twice, or has a line without
            the keys and types above.
    """
    if file_kind(path) not in (".jsonl", ".json", ".parquet", *SEPARATORS):
        raise BenchError(
            f"{path.name} is no catalog file.",
            "Give a .jsonl, .json, .csv, .tsv or .parquet file.",
        )
    placed = read_rows(path, ListedItem)
    _check_distinct("item", [(place, row.id) for place, row in placed])
    items = [row for _, row in placed]
    return Catalog(
        ids=tuple(item.id for item in items),
        titles=tuple(item.title for item in items),
        categories=tuple(item.categories for item in items),
        tracked=tuple(dict.fromkeys(name for item in items for name in item.categories)),
    )


def score_ranking(
    file: RankingFile,
    catalog: Catalog | None,
    ks: Sequence[int],
    tracked: Sequence[str] | None = None,
) -> dict[str, float]:
    """Compute every metric that the files allow.

    A recommended id that the catalog lacks counts as hallucinated; a target that it lacks makes
    its case unknown (see `bench.metrics.evaluate`). Without a catalog the ids that the file
    mentions stand in for one: its size is unknown then, every target is known and nothing can be
    hallucinated, so Coverage, Gini and Hallucination are left out along with the fairness metrics.

    Args:
        file: The lists, each at least as long as the largest k.
        catalog: The items, or None.
        ks: Lengths of the lists, from 1.
        tracked: The categories to track, in this order; all of the catalog's if None.

    Returns:
        Value of each metric by its name.

    Raises:
        BenchError: A list is too short, or a tracked category does not exist.
    """
    _check_lengths(file, max(ks, default=0))
    if catalog is None:
        if tracked is not None:
            raise BenchError(
                "Categories are to be tracked, but there is no catalog.",
                "Give a catalog file that says which item has which category.",
            )
        metrics = evaluate_file(file, collect_items([file]), ks)[1].metrics
        return {
            name: value for name, value in metrics.items() if not get_metric(name).needs_catalog
        }
    if tracked is not None:
        catalog = replace(catalog, tracked=_checked_categories(tracked, catalog))
    return evaluate_file(file, catalog, ks)[1].metrics


def evaluate_file(
    file: RankingFile, catalog: Catalog, ks: Sequence[int]
) -> tuple[NDArray[np.int32], Scores]:
    """Evaluate a ranking file against a catalog.

    Returns:
        Item positions, shape (C, D), -1 for what the catalog does not hold; and the scores.
    """
    position = {id_: place for place, id_ in enumerate(catalog.ids)}
    items = _positions([case.items for case in file.cases], position, LIST_ENDS)
    scores = evaluate(
        Ranking(items=items),
        targets=_positions([(case.target,) for case in file.cases], position, PADDING)[:, 0],
        histories=_positions([case.history for case in file.cases], position, PADDING),
        catalog=catalog,
        ks=ks,
        plugins=plugin_metrics().values(),
    )
    return items, scores


def _positions(
    lists: Sequence[tuple[str, ...]], position: dict[str, int], filler: int
) -> NDArray[np.int32]:
    table = np.full((len(lists), max(map(len, lists))), filler, dtype=np.int32)
    for row, ids in zip(table, lists, strict=True):
        row[: len(ids)] = [position.get(id_, NOT_AN_ITEM) for id_ in ids]
    return table


def collect_items(files: Sequence[RankingFile]) -> Catalog:
    """Make a catalog of all ids in ranking files, for metrics that need no complete catalog."""
    ids: dict[str, None] = {}
    for case in (case for file in files for case in file.cases):
        ids.update(dict.fromkeys((*case.history, case.target, *case.items)))
    return Catalog(ids=tuple(ids), titles=tuple(ids), categories=((),) * len(ids))


def _checked_categories(tracked: Sequence[str], catalog: Catalog) -> tuple[str, ...]:
    existing = {name for names in catalog.categories for name in names}
    for name in tracked:
        if name not in existing:
            raise unknown("category", name, existing)
    if not tracked or len(set(tracked)) < len(tracked):
        raise BenchError(
            f"The tracked categories are {list(tracked)}.", "Name at least one, each of them once."
        )
    return tuple(tracked)


def _check_lengths(file: RankingFile, k: int) -> None:
    for place, case in zip(file.places, file.cases, strict=True):
        if len(case.items) < k:
            raise BenchError(
                f"{place}: case {case.case!r} has {len(case.items)} items, k={k} asked.",
                f"Rank at least {k} items a case or ask for a smaller k.",
            )


def _check_distinct(what: str, placed: Sequence[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for place, name in placed:
        if name in first:
            raise BenchError(
                f"{place}: {what} {name!r} was there before.",
                f"It stands first in {first[name][0].lower()}{first[name][1:]}.",
            )
        first[name] = place
