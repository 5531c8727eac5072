"""Random: every item is as likely as any other; the floor under every table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Catalog, Data, Model, Plan, Windows, derive_seed, rank


def fit(
    train: Windows, catalog: Catalog, *, seed: int
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Draw a new order of the catalog for every case."""
    generator = np.random.default_rng(derive_seed("random scores", seed))
    return lambda histories: generator.random((len(histories), len(catalog)))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Random: a new order of the catalog for every case."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by seeded noise."""
        return Plan(
            ranking=rank(data.test, scorer="random:fit", train=data.train, settings={"seed": seed})
        )
