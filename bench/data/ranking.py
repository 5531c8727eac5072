"""Rankings: one list of recommended items per test case, best first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

NOT_AN_ITEM = -1
LIST_ENDS = -2


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The lists of C test cases, D positions each.

    Attributes:
        items: Item indices, best first, shape (C, D). -1 is a recommendation that is not in the
            catalog: it takes a position and never hits. -2 marks the end of a list; only -2 may
            follow.
        scores: Score of each position, shape (C, D), finite up to the end of each list; None if the
            method has no scores.
        texts: The generated texts, one per case; None if the method generates none.
        valid: Whether the text of each case is exactly an item's title, shape (C,); None where all
            lists hold items that were named exactly. Grounding replaces an invented title by a real
            item; this field keeps the invention visible.

    Raises:
        BenchError: If the arrays do not fit together.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float64] | None = None
    texts: tuple[str, ...] | None = None
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or not np.issubdtype(self.items.dtype, np.integer):
            raise BenchError(
                f"The items of a ranking have shape {self.items.shape} and type "
                f"{self.items.dtype}.",
                "Give item indices as integers, one row per case.",
            )
        self._check_ends()
        if self.scores is not None:
            self._check_scores(self.scores)
        if self.texts is not None and len(self.texts) != len(self):
            raise BenchError(f"The ranking has {len(self)} cases and {len(self.texts)} texts.")
        if self.valid is not None and (
            self.valid.shape != self.items.shape[:1] or self.valid.dtype != np.bool_
        ):
            raise BenchError(
                f"The ranking has {len(self)} cases, but `valid` has shape {self.valid.shape} and "
                f"type {self.valid.dtype}.",
                "Give one boolean per case.",
            )

    def __len__(self) -> int:
        return len(self.items)

    def _check_ends(self) -> None:
        ended = self.items[:, :-1] == LIST_ENDS
        broken = (ended & (self.items[:, 1:] != LIST_ENDS)).any(axis=1)
        if broken.any():
            message = f"The list of case {_first_case(broken)} continues after its end."
            raise BenchError(message, "Every position after the first -2 must be -2.")

    def _check_scores(self, scores: NDArray[np.float64]) -> None:
        if scores.shape != self.items.shape:
            raise BenchError(
                f"The ranking has items of shape {self.items.shape} and scores of shape "
                f"{scores.shape}.",
                "Give one score per position.",
            )
        broken = (~np.isfinite(scores) & (self.items != LIST_ENDS)).any(axis=1)
        if broken.any():
            raise BenchError(
                f"Case {_first_case(broken)} has a score that is not a finite number.",
                "Look for an overflow or a division by zero where the method scores its items.",
            )


def remove_items(ranking: Ranking, excluded: NDArray[np.integer]) -> Ranking:
    """Remove items from lists; what follows moves up, and the lists end earlier.

    `excluded` are the items of each list, shape (C, H); negative values remove nothing.
    """
    equal = ranking.items[:, :, None] == excluded[:, None]
    return keep_positions(ranking, ~(equal & (excluded >= 0)[:, None]).any(axis=2))


def keep_positions(ranking: Ranking, stays: NDArray[np.bool_]) -> Ranking:
    """Keep some positions of each list, shape (C, D); the lists end earlier."""
    order = np.argsort(~stays, axis=1, kind="stable")
    moved = np.where(
        np.sort(stays, axis=1)[:, ::-1], np.take_along_axis(ranking.items, order, 1), LIST_ENDS
    )
    scores = ranking.scores
    if scores is not None:
        scores = np.take_along_axis(scores, order, 1)
    return replace(ranking, items=moved.astype(np.int32), scores=scores)


def top_items(distances: NDArray[np.floating], depth: int) -> NDArray[np.int32]:
    """Rank items by ascending distance; of equally near items the first one wins.

    Only the nearest `depth` are sorted, so the cost is linear in the number of items.

    Args:
        distances: Distance of each item from each case, shape (C, I); infinity is allowed.
        depth: How many items to keep, from 1 to I.

    Returns:
        Item indices, shape (C, depth).

    Raises:
        BenchError: If a distance is NaN or `depth` is out of range.
    """
    num_cases, num_items = distances.shape
    if not 1 <= depth <= num_items:
        message = f"Cannot rank the nearest {depth} of {num_items} items."
        raise BenchError(message, f"Choose 1 to {num_items} items.")
    broken = np.isnan(distances.min(axis=1))
    if broken.any():
        message = f"Case {_first_case(broken)} has a distance that is NaN."
        raise BenchError(message, "Look for an overflow or a division by zero in the embeddings.")
    limits = np.partition(distances, depth - 1, axis=1)[:, depth - 1, np.newaxis]
    selected = distances <= limits
    overfull = np.flatnonzero(np.count_nonzero(selected, axis=1) > depth)
    selected[overfull] = _select_first_ties(distances[overfull], limits[overfull], depth)
    nearest = np.nonzero(selected)[1].reshape(num_cases, depth)
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1).astype(np.int32)


def _select_first_ties(
    distances: NDArray[np.floating], limits: NDArray[np.floating], depth: int
) -> NDArray[np.bool_]:
    """Select `depth` items per row: all below the limit, then the first ones at the limit."""
    nearer = distances < limits
    tied = distances == limits
    num_free = depth - np.count_nonzero(nearer, axis=1, keepdims=True)
    selected: NDArray[np.bool_] = nearer | (tied & (np.cumsum(tied, axis=1) <= num_free))
    return selected


def _first_case(broken: NDArray[np.bool_]) -> int:
    return int(np.argmax(broken))
