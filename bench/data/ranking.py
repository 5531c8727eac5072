"""What a method hands over: one list of items a case, best first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

NOT_AN_ITEM = -1
LIST_ENDS = -2


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The lists of C cases, D places each.

    Attributes:
        items: Item positions, best first, shape (C, D). -1 is a recommendation that is no item of
            the catalog: it takes up its place and never hits. -2 says that the list has ended;
            only further -2 may follow.
        scores: Score of each place, shape (C, D), finite wherever the list has not ended; None if
            the method has none.
        texts: What the model wrote, one text a case; None if it wrote nothing.
        valid: Whether the text of each case names an item to the letter, shape (C,); None where
            every item in the lists was named as such. Grounding puts real items in the place of
            an invented title, and this keeps the invention visible.

    Raises:
        BenchError: The arrays do not fit together.
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
                "Give item positions as integers, one row a case.",
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
                f"The ranking has {len(self)} cases and marks of shape {self.valid.shape} and type "
                f"{self.valid.dtype} for valid texts.",
                "Give one truth value a case.",
            )

    def __len__(self) -> int:
        return len(self.items)

    def _check_ends(self) -> None:
        ended = self.items[:, :-1] == LIST_ENDS
        broken = (ended & (self.items[:, 1:] != LIST_ENDS)).any(axis=1)
        if broken.any():
            raise BenchError(
                f"The list of case {_first(broken)} goes on after its end.",
                "Every place after the first -2 must be -2.",
            )

    def _check_scores(self, scores: NDArray[np.float64]) -> None:
        if scores.shape != self.items.shape:
            raise BenchError(
                f"The ranking has items of shape {self.items.shape} and scores of shape "
                f"{scores.shape}.",
                "Give one score a place.",
            )
        broken = (~np.isfinite(scores) & (self.items != LIST_ENDS)).any(axis=1)
        if broken.any():
            raise BenchError(
                f"Case {_first(broken)} has a score that is not a finite number.",
                "Look for an overflow or a division by zero where the method scores its items.",
            )


def top_items(distances: NDArray[np.floating], depth: int) -> NDArray[np.int32]:
    """Rank items by distance, the nearest first; of equally near items the first one wins.

    Only the nearest `depth` are ever sorted, so the cost is linear in the number of items.

    Args:
        distances: Distance of each item from each case, shape (C, I); infinity is allowed.
        depth: How many items to keep, from 1 to I.

    Returns:
        Item positions, shape (C, depth).

    Raises:
        BenchError: A distance is NaN, or `depth` is out of range.
    """
    num_cases, num_items = distances.shape
    if not 1 <= depth <= num_items:
        raise BenchError(
            f"The nearest {depth} of {num_items} items were asked.",
            f"Ask for 1 to {num_items} items.",
        )
    broken = np.isnan(distances.min(axis=1))
    if broken.any():
        raise BenchError(
            f"Case {_first(broken)} has a distance that is not a number.",
            "Look for an overflow or a division by zero in the embeddings.",
        )
    limits = np.partition(distances, depth - 1, axis=1)[:, depth - 1, np.newaxis]
    kept = distances <= limits
    crowded = np.flatnonzero(np.count_nonzero(kept, axis=1) > depth)
    kept[crowded] = _without_late_ties(distances[crowded], limits[crowded], depth)
    nearest = np.nonzero(kept)[1].reshape(num_cases, depth)
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1).astype(np.int32)


def _without_late_ties(
    distances: NDArray[np.floating], limits: NDArray[np.floating], depth: int
) -> NDArray[np.bool_]:
    """Mark exactly `depth` items a row: all below the limit, then the first ones at the limit."""
    nearer = distances < limits
    tied = distances == limits
    room = depth - np.count_nonzero(nearer, axis=1, keepdims=True)
    marked: NDArray[np.bool_] = nearer | (tied & (np.cumsum(tied, axis=1) <= room))
    return marked


def _first(broken: NDArray[np.bool_]) -> int:
    return int(np.argmax(broken))
