"""MAP, NDCG and clicks of short labeled lists, as KAR's program computes them (RecSys 2024).

KAR (Xi et al.) divides average precision by the positives among the first k, not by the smaller of
k and all positives; so a list whose two positives are first and last has MAP@5 of 1. MAPstd is the
usual form. A list without any positive scores 0.

Shapes: N lists, L positions each. Labels are 0 or 1, best position first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.metrics.metric import Labels, Metric, Values


def sort_labels(scores: NDArray[np.floating], labels: Labels) -> Labels:
    """Sort the labels of lists by descending score, shape (N, L) both; ties keep their order.

    Raises:
        BenchError: If the shapes differ or a score is not finite.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        message = f"Scores have shape {scores.shape} where labels have {labels.shape}."
        raise BenchError(message, "Give one score per position of every list.")
    if not np.isfinite(scores).all():
        message = "A score of a list is not a finite number."
        raise BenchError(message, "Look for a training run that diverged.")
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(labels, order, axis=1)


def ndcg_of_labels(labels: Labels, k: int) -> Values:
    """Compute the discounted gain of the first k positions over that of the best order, shape (N,).

    In lists shorter than k all positions count.
    """
    length = min(k, labels.shape[1])
    discounts = 1 / np.log2(np.arange(length) + 2.0)
    gains = (labels[:, :length] > 0) @ discounts
    ideal_gains = np.concatenate(([0.0], np.cumsum(discounts)))
    return _divide(gains, ideal_gains[np.minimum(_count_positives(labels), length)])


def average_precision(labels: Labels, k: int) -> Values:
    """Compute KAR's form: mean precision at the positives among the first k, shape (N,)."""
    sums, num_hits = _sum_precision_at_hits(labels, k)
    return _divide(sums, num_hits)


def standard_average_precision(labels: Labels, k: int) -> Values:
    """Compute the usual form, divided by the smaller of k and all positives, shape (N,)."""
    sums, _ = _sum_precision_at_hits(labels, k)
    return _divide(sums, np.minimum(_count_positives(labels), k))


def clicks(labels: Labels, k: int) -> Values:
    """Count the positives among the first k positions, shape (N,)."""
    return _count_positives(labels[:, :k]).astype(np.float64)


def has_positive(labels: Labels) -> Values:
    """Return 1 for lists with a positive, else 0, shape (N,)."""
    return (_count_positives(labels) > 0).astype(np.float64)


def _count_positives(labels: Labels) -> NDArray[np.integer]:
    counts: NDArray[np.integer] = (labels > 0).sum(axis=1)
    return counts


def _sum_precision_at_hits(labels: Labels, k: int) -> tuple[Values, Values]:
    hit = labels[:, :k] > 0
    num_hits = np.cumsum(hit, axis=1)
    precision = num_hits / np.arange(1, hit.shape[1] + 1)
    return (hit * precision).sum(axis=1), num_hits[:, -1].astype(np.float64)


def _divide(numerator: Values, denominator: NDArray[np.integer] | Values) -> Values:
    """Divide; 0 where the denominator is 0."""
    positive = np.asarray(denominator) > 0
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=positive)


MAP = Metric(
    family="MAP",
    title="mean average precision as KAR computes it",
    description="Mean precision at the positives among the first k; divided by their number.",
    higher_is_better=True,
    score_labels=average_precision,
)
MAP_STD = Metric(
    family="MAPstd",
    title="mean average precision, usual form",
    description="Mean precision at the positives among the first k; divided by the smaller of k "
    "and all positives.",
    higher_is_better=True,
    score_labels=standard_average_precision,
)
CLICK = Metric(
    family="CLICK",
    title="clicks",
    description="Number of positives among the first k.",
    higher_is_better=True,
    score_labels=clicks,
    maximum=None,
)
LIST_CAP = Metric(
    family="ListCap",
    title="fraction of lists with a positive",
    description="Fraction of lists with any positive: the most that MAP and NDCG can reach.",
    higher_is_better=True,
    score_labels=lambda labels, _: has_positive(labels),
    takes_k=False,
)
