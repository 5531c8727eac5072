"""First-order Markov chain: what followed the history's last item in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    Catalog,
    Data,
    Model,
    Plan,
    PositiveFloat,
    Windows,
    count_transitions,
    last_items,
    rank,
)


def fit(
    train: Windows, catalog: Catalog, *, backoff: float
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Estimate P(next | last) by counts, smoothed with the frequency of the targets."""
    counts = count_transitions(train, len(catalog))
    popularity = np.bincount(train.targets[train.targets >= 0], minlength=len(catalog))
    prior = backoff * popularity / max(1, popularity.sum())

    def score(histories: NDArray[np.int32]) -> NDArray[np.float64]:
        last = last_items(histories)[:, None]
        followers = np.where(last >= 0, counts[np.maximum(last[:, 0], 0)].toarray(), 0.0)
        return np.asarray((followers + prior) / (followers.sum(axis=1, keepdims=True) + backoff))

    return score


@dataclass(frozen=True, kw_only=True)
class Method:
    """Markov: first-order transitions between items, backing off to popularity."""

    backoff: PositiveFloat = 10.0
    """Number of pseudo-counts distributed over the items by popularity."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by transition probability; nothing is drawn, so all seeds share one ranking."""
        ranking = rank(data.test, scorer="markov:fit", train=data.train, settings={**vars(self)})
        return Plan(ranking=ranking)
