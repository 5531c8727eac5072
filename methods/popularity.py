"""Popularity: the items seen most often in training, the same list for everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Catalog, Data, Model, Plan, Windows, rank


def fit(train: Windows, catalog: Catalog) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Count how often each item is the target of a training row."""
    targets = train.targets[train.targets >= 0]
    counts = np.bincount(targets, minlength=len(catalog)).astype(np.float64)
    return lambda histories: np.tile(counts, (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Popularity: the most frequent training targets, the same list for everybody.

    Items of equal count are ranked in the order of the catalog.
    """

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by count; nothing is drawn, so all seeds share one ranking."""
        return Plan(ranking=rank(data.test, scorer="popularity:fit", train=data.train))
