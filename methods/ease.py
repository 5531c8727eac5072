"""EASE: the linear item-item model with a closed-form solution (Steck, WWW 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    BenchError,
    Catalog,
    Data,
    Fraction,
    Model,
    Plan,
    PositiveFloat,
    PositiveInt,
    Windows,
    rank,
    recency_weights,
    session_matrix,
)


def fit(
    train: Windows, catalog: Catalog, *, l2: float, decay: float, max_items: int
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Solve for the item-item weights with zero diagonal: B = I - P / diag(P) (equation 8)."""
    if len(catalog) > max_items:
        raise BenchError(
            f"EASE inverts a matrix of {len(catalog):,} × {len(catalog):,} items, more than "
            f"max_items = {max_items:,}.",
            "Leave EASE out for this data set, or raise max_items if memory allows.",
        )
    sessions = session_matrix(train, len(catalog))
    gram = (sessions.T @ sessions).toarray()
    gram[np.diag_indices_from(gram)] += l2
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return lambda histories: recency_weights(histories, len(catalog), decay) @ weights


@dataclass(frozen=True, kw_only=True)
class Method:
    """EASE: ridge regression of every item on all others, in closed form (Steck, WWW 2019)."""

    l2: PositiveFloat = 250.0
    """Ridge penalty λ."""
    decay: Fraction = 1.0
    """Weight of a history item relative to the next one; 1, as in the paper, ignores the order."""
    max_items: PositiveInt = 20_000
    """Largest catalog that is accepted; memory grows with its square (3.2 GB per matrix)."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by predicted score; nothing is drawn, so all seeds share one ranking."""
        ranking = rank(data.test, scorer="ease:fit", train=data.train, settings={**vars(self)})
        return Plan(ranking=ranking)
