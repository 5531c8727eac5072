"""Transition graph: items within two steps of the last two, weighted by shared features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    Catalog,
    Data,
    Fraction,
    Model,
    NonNegativeFloat,
    Plan,
    Windows,
    count_transitions,
    feature_vectors,
    last_items,
    rank,
)


def fit(
    train: Windows, catalog: Catalog, *, previous: float, second_step: float, features: float
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Walk one and two steps from the last two items; an edge counts once per user."""
    step = count_transitions(train, len(catalog))
    totals = np.asarray(step.sum(axis=1)).ravel()
    step.data /= np.repeat(totals, np.diff(step.indptr))
    vectors = feature_vectors(catalog)

    def walk(items: NDArray[np.integer]) -> NDArray[np.float64]:
        distinct, inverse = np.unique(items, return_inverse=True)
        start = np.maximum(distinct, 0)
        reached = (step[start] + second_step * (step[start] @ step)).toarray()
        similarity = (vectors[start] @ vectors.T).toarray()
        scores = reached * (1 + features * similarity)
        return np.where(distinct[:, None] >= 0, scores, 0.0)[inverse]

    return lambda histories: (
        walk(last_items(histories)) + previous * walk(last_items(histories, age=1))
    )


@dataclass(frozen=True, kw_only=True)
class Method:
    """Transition graph: one- and two-step transitions from the last two items × item similarity.

    An untrained heuristic after Han et al. (arXiv 2605.07125); the weights and features are ours.
    Where it is strong, the data need neither long histories nor a sequence model.
    """

    previous: Fraction = 0.5
    """Weight of the last item but one, relative to the last."""
    second_step: Fraction = 0.1
    """Weight of items two transitions away, relative to one."""
    features: NonNegativeFloat = 1.0
    """Weight of the cosine of title words and categories; 0 ignores them."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by weighted transitions; nothing is drawn, so all seeds share one ranking."""
        ranking = rank(
            data.test, scorer="transitiongraph:fit", train=data.train, settings={**vars(self)}
        )
        return Plan(ranking=ranking)
