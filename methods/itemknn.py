"""ItemKNN: items whose sessions resemble those of the history's items; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
    rank,
    recency_weights,
    session_matrix,
)


def fit(
    train: Windows,
    catalog: Catalog,
    *,
    session: Literal["user", "window"],
    decay: float,
    shrinkage: float,
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Compute the shrunk cosine between the sessions of any two items, 0 of an item with itself."""
    sessions = session_matrix(train, len(catalog), session)
    common = (sessions.T @ sessions).tocoo()
    num_sessions = common.diagonal()
    norms = np.sqrt(num_sessions[common.row] * num_sessions[common.col])
    common.data = np.where(common.row == common.col, 0, common.data / (norms + shrinkage))
    similarity = common.tocsr()
    return lambda histories: (
        recency_weights(histories, len(catalog), decay) @ similarity
    ).toarray()


@dataclass(frozen=True, kw_only=True)
class Method:
    """ItemKNN: sum over the history of the cosine of item sessions, weighted by recency.

    The shrunk cosine is that of Dacrema et al. (RecSys 2019) for implicit feedback.
    """

    session: Literal["user", "window"] = "user"
    """What contains items together: all training items of a "user", or each training "window"."""
    decay: Fraction = 0.6
    """Weight of a history item relative to the next one; 1 ignores the order."""
    shrinkage: NonNegativeFloat = 10.0
    """Added to the denominator of the cosine, against items with few sessions."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Rank by similarity to the history; nothing is drawn, so all seeds share one ranking."""
        ranking = rank(data.test, scorer="itemknn:fit", train=data.train, settings={**vars(self)})
        return Plan(ranking=ranking)
