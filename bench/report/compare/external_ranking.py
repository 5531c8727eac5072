"""Ranking files made elsewhere (those of `bench score`) as one side of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.catalog import Catalog
from bench.errors import BenchError, unknown
from bench.metrics.registry import get_metric
from bench.report.compare.systems import System
from bench.results.score_file import RankingFile, evaluate_file
from bench.stats.samples import Sample

NO_FINGERPRINT = (
    "{name} is a file without a data fingerprint: that its cases are the same ones is checked by "
    "their ids, users and, between two files, targets."
)


def track_categories(catalog: Catalog, names: Sequence[str]) -> Catalog:
    """Set the categories that fairness metrics track, in this order.

    Raises:
        BenchError: If the catalog has no such category.
    """
    existing = {name for categories in catalog.categories for name in categories}
    for name in names:
        if name not in existing:
            raise unknown("category", name, existing)
    return replace(catalog, tracked=tuple(names))


def read_system_file(
    name: str,
    path: Path,
    file: RankingFile,
    catalog: Catalog,
    *,
    ks: Sequence[int],
    positions: dict[str, int],
    complete_catalog: bool = True,
) -> System:
    """Score a ranking file as a method with a single seed, number 0.

    Args:
        name: Its name in the comparison.
        path: Of the file, for messages.
        file: Its cases.
        catalog: The items, with the categories to track.
        ks: Lengths of lists.
        positions: Index of each item id, shared by all methods that are compared; grows.
        complete_catalog: False if the catalog holds only the items of the files; metrics that need
            the whole catalog are then left out.

    Raises:
        BenchError: If a list is shorter than k or no target is in the catalog.
    """
    try:
        (ranking, _, _, catalog), scores = evaluate_file(file, catalog, ks)
    except BenchError as error:
        raise BenchError(f"{path.name}: {error.message}", error.hint) from error
    items = ranking.items
    shared = np.array([positions.setdefault(id_, len(positions)) for id_ in catalog.ids])
    sample = Sample(
        name=name,
        seeds=(0,),
        cases=tuple(case.case for case in file.cases),
        users=tuple(case.user for case in file.cases),
        values={metric: values[None] for metric, values in scores.cases.items()},
        items=np.where(items >= 0, shared[np.maximum(items, 0)], items)[None].astype(np.int32),
        known=scores.known,
        masses={k: mass[None] for k, mass in scores.masses.items()},
        histories=scores.history_masses,
        tracked=catalog.tracked,
        num_items=len(catalog),
    )
    metrics = {
        metric: value
        for metric, value in scores.metrics.items()
        if complete_catalog or not get_metric(metric).needs_catalog
    }
    return System(
        sample=sample,
        dataset="",
        fingerprint="",
        recorded={0: metrics},
        paths={0: str(path)},
        targets={case.case: case.target for case in file.cases},
        notes=(NO_FINGERPRINT.format(name=name),),
    )
