"""Accuracy of top-k lists with one relevant item per case, and the validity of generated titles.

Per-case values; their means over all n cases are HR@k, NDCG@k and Hallucination as SPRec's scorer
computes them (Gao et al., WWW 2025): a case whose target is not in the catalog counts as a miss.
`ranks` are those of the targets, from 0; -1 where a target is absent. k is from 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.ranking import NOT_AN_ITEM
from bench.metrics.metric import Metric, RankedCases, Values
from bench.metrics.rerank import ndcg_of_labels


def hits(ranks: NDArray[np.integer], k: int) -> Values:
    """Return 1 where the target is among the first k, else 0, in the shape of `ranks`."""
    return ((ranks >= 0) & (ranks < k)).astype(np.float64)


def ndcg(ranks: NDArray[np.integer], k: int) -> Values:
    """Return `1 / log2(rank + 2)` for a hit within the first k, else 0; the ideal gain is 1."""
    gains: Values = hits(ranks, k) / np.log2(np.maximum(ranks, 0) + 2.0)
    return gains


def hallucinations(cases: RankedCases) -> Values:
    """Return 1 where the first recommendation names no catalog item, else 0, shape (C,).

    Grounding replaces an invented title by a real item; `Ranking.valid` marks such texts.
    """
    invalid: NDArray[np.bool_] = cases.ranking.items[:, 0] == NOT_AN_ITEM
    if cases.ranking.valid is not None:
        invalid = invalid | ~cases.ranking.valid
    return invalid.astype(np.float64)


HR = Metric(
    family="HR",
    title="hit ratio",
    description="Fraction of cases whose target is among the first k.",
    higher_is_better=True,
    score_cases=lambda cases, k: hits(cases.ranks, k),
)
NDCG = Metric(
    family="NDCG",
    title="normalized discounted cumulative gain",
    description="Gain of the relevant items among the first k, discounted by the logarithm of "
    "their rank, over that of the best order.",
    higher_is_better=True,
    score_cases=lambda cases, k: ndcg(cases.ranks, k),
    score_labels=ndcg_of_labels,
)
HALLUCINATION = Metric(
    family="Hallucination",
    title="hallucination rate",
    description="Fraction of cases whose first recommendation is not in the catalog, or replaces a "
    "generated text that names no item.",
    higher_is_better=False,
    score_cases=lambda cases, _: hallucinations(cases),
    takes_k=False,
    needs_catalog=True,
)
