"""Rankings made elsewhere as one side of a comparison; the files are those of `bench score`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.errors import BenchError, unknown
from bench.metrics.evaluate import Scores
from bench.metrics.names import parse
from bench.report.compare.systems import System
from bench.results.score_file import NEEDS_CATALOG, RankingFile, evaluate_file
from bench.stats.samples import Sample

NO_FINGERPRINT = (
    "{name} is a file without a fingerprint of its data: that its cases are the same ones is "
    "checked by their ids, users and, between two files, targets."
)


def track(catalog: Catalog, names: Sequence[str]) -> Catalog:
    """Choose the categories that fairness metrics track, in this order.

    Raises:
        BenchError: If the catalog has no such category.
    """
    existing = {name for kinds in catalog.categories for name in kinds}
    for name in names:
        if name not in existing:
            raise unknown("category", name, existing)
    return replace(catalog, tracked=tuple(names))


def mentioned(files: Sequence[RankingFile]) -> Catalog:
    """Let the ids that the files mention stand in for a catalog, shared by all of them."""
    seen: dict[str, None] = {}
    for file in files:
        for case in file.cases:
            seen.update(dict.fromkeys((*case.history, case.target, *case.items)))
    ids = tuple(seen)
    return Catalog(ids=ids, titles=ids, categories=((),) * len(ids))


def outside_system(
    name: str,
    path: Path,
    file: RankingFile,
    catalog: Catalog,
    *,
    ks: Sequence[int],
    positions: dict[str, int],
    whole_catalog: bool = True,
) -> System:
    """Score a ranking file and make it comparable; it is a single seed, number 0.

    Args:
        name: What to call it.
        path: Where it was read from, for messages.
        file: Its cases.
        catalog: The items, with the categories to track.
        ks: Lengths of lists.
        positions: Position of each item id, shared by all systems that are compared; grows.
        whole_catalog: False where `mentioned` made it up; metrics that need its size are then
            left out.

    Raises:
        BenchError: If a list is shorter than k or no target is in the catalog.
    """
    items, scores = _scored(path, file, catalog, ks)
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
        history_mass=scores.history_mass,
        tracked=catalog.tracked,
        num_items=len(catalog),
    )
    measured = {
        metric: value
        for metric, value in scores.metrics.items()
        if whole_catalog or parse(metric).family not in NEEDS_CATALOG
    }
    return System(
        sample=sample,
        dataset="",
        fingerprint="",
        recorded={0: measured},
        places={0: str(path)},
        targets={case.case: case.target for case in file.cases},
        notes=(NO_FINGERPRINT.format(name=name),),
    )


def _scored(
    path: Path, file: RankingFile, catalog: Catalog, ks: Sequence[int]
) -> tuple[NDArray[np.int32], Scores]:
    try:
        return evaluate_file(file, catalog, ks)
    except BenchError as error:
        raise BenchError(f"{path.name}: {error.message}", error.hint) from error
