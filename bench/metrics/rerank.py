"""MAP and NDCG of short labeled lists, as KAR's program computes them (Xi et al., RecSys 2024).

KAR's average precision is divided by the positives among the first k, not by the smaller of k and
all positives; so a list whose two positives stand first and last has MAP@5 of 1. The usual form is
here as MAPstd. A list without any positive scores 0 in all of them, or is left out of the means,
by the switch `empty`.

Shapes: N lists, L places each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown

Empty = Literal["zero", "skip"]
CAP = "ListCap"
Floats = NDArray[np.float64]
Labels = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class ListScores:
    """The metrics of N scored lists.

    Attributes:
        metrics: Mean over lists by name, e.g. "MAP@5", and "ListCap": the share of all lists that
            have a positive, which is the most that MAP and NDCG can reach where `empty` is "zero".
        user_metrics: The same, averaged within each user first; every user counts once.
        lists: Values list by list, shape (N,) each, 0 for lists without positives; "ListCap" is 1
            for the others.
        counted: Which lists enter the means, shape (N,).
    """

    metrics: dict[str, float]
    user_metrics: dict[str, float]
    lists: dict[str, Floats]
    counted: NDArray[np.bool_]


def ordered_labels(scores: NDArray[np.floating], labels: Labels) -> Labels:
    """Return each list's labels by falling score; equal scores keep the given order.

    Args:
        scores: Shape (N, L), finite.
        labels: 0 or 1, shape (N, L).

    Raises:
        BenchError: A score is no finite number.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise BenchError(
            f"Scores have shape {scores.shape} where labels have {labels.shape}.",
            "Give one score to every place of every list.",
        )
    if not np.isfinite(scores).all():
        raise BenchError(
            "A score of a list is no finite number.", "Look for a training run that diverged."
        )
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered: Labels = np.take_along_axis(labels, order, axis=1)
    return ordered


def ndcg(ordered: Labels, k: int) -> Floats:
    """Discounted gain of the first k places over that of the best order, shape (N,).

    Args:
        ordered: Labels best place first, shape (N, L).
        k: Places that count, from 1; lists shorter than k count whole.
    """
    length = min(k, ordered.shape[1])
    discounts = 1 / np.log2(np.arange(length) + 2.0)
    gained = (ordered[:, :length] > 0) @ discounts
    bounds = np.concatenate(([0.0], np.cumsum(discounts)))
    best = bounds[np.minimum(_positives(ordered), length)]
    return _divided(gained, best)


def average_precision(ordered: Labels, k: int) -> Floats:
    """KAR's: mean precision at the hits among the first k places; 0 without a hit, shape (N,)."""
    summed, hits = _precision_at_hits(ordered, k)
    return _divided(summed, hits)


def standard_average_precision(ordered: Labels, k: int) -> Floats:
    """Return the usual form, divided by the smaller of k and all positives, shape (N,)."""
    summed, _ = _precision_at_hits(ordered, k)
    return _divided(summed, np.minimum(_positives(ordered), k))


def clicks(ordered: Labels, k: int) -> Floats:
    """Return how many positives the first k places hold, shape (N,)."""
    counts: Floats = (ordered[:, :k] > 0).sum(axis=1).astype(np.float64)
    return counts


MEASURES: Mapping[str, Callable[[Labels, int], Floats]] = {
    "MAP": average_precision,
    "NDCG": ndcg,
    "MAPstd": standard_average_precision,
    "CLICK": clicks,
}


def evaluate_lists(
    scores: NDArray[np.floating],
    labels: Labels,
    users: NDArray[np.integer],
    *,
    ks: Sequence[int],
    empty: Empty = "zero",
) -> ListScores:
    """Compute every measure at every k.

    Args:
        scores: Higher is better, shape (N, L).
        labels: 0 or 1, shape (N, L).
        users: Whose list it is, shape (N,).
        ks: From 1, in any order.
        empty: "zero" counts a list without positives as 0, as KAR does; "skip" leaves it out.

    Raises:
        BenchError: There is nothing to average, a k is below 1, or a score is not finite.
    """
    if empty not in get_args(Empty):
        raise unknown("way with lists without positives", empty, get_args(Empty))
    if not ks or min(ks) < 1:
        raise BenchError(f"Metrics were asked at k = {list(ks)}.", "Give one k or more, from 1.")
    ordered = ordered_labels(scores, labels)
    positive = _positives(ordered) > 0
    counted = positive if empty == "skip" else np.ones(len(ordered), dtype=np.bool_)
    if not counted.any():
        raise BenchError("There is no list to score.", "Check the split and the labels.")
    lists = {
        f"{name}@{k}": measure(ordered, k)
        for k in sorted(set(ks))
        for name, measure in MEASURES.items()
    }
    metrics = {name: float(values[counted].mean()) for name, values in lists.items()}
    per_user = {name: means_by_user(values, users, counted) for name, values in lists.items()}
    cap = positive.astype(np.float64)
    everyone = np.ones(len(cap), dtype=np.bool_)
    return ListScores(
        metrics={**metrics, CAP: float(cap.mean())},
        user_metrics={
            **{name: float(means.mean()) for name, means in per_user.items()},
            CAP: float(means_by_user(cap, users, everyone).mean()),
        },
        lists={**lists, CAP: cap},
        counted=counted,
    )


def means_by_user(values: Floats, users: NDArray[np.integer], counted: NDArray[np.bool_]) -> Floats:
    """Average the counted lists of each user that has one, in ascending order of user."""
    _, place = np.unique(users[counted], return_inverse=True)
    means: Floats = np.bincount(place, weights=values[counted]) / np.bincount(place)
    return means


def _positives(ordered: Labels) -> NDArray[np.integer]:
    counts: NDArray[np.integer] = (ordered > 0).sum(axis=1)
    return counts


def _precision_at_hits(ordered: Labels, k: int) -> tuple[Floats, Floats]:
    hit = ordered[:, :k] > 0
    hits_so_far = np.cumsum(hit, axis=1)
    precision = hits_so_far / np.arange(1, hit.shape[1] + 1)
    return (hit * precision).sum(axis=1), hits_so_far[:, -1].astype(np.float64)


def _divided(part: Floats, whole: NDArray[np.integer] | Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(part)), where=np.asarray(whole) > 0)
