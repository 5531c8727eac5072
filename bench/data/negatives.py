"""Draws the items that a user is taught to like less than the target.

No drawn item ever carries the title of the target or of an item of the history, for in a prompt an
item is its title. Each row has random numbers of its own, so that what one row draws depends on
the seed and its place alone. Shapes: N rows, H longest history, I items, K items a row, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.prompts import quotable
from bench.data.windows import Windows
from bench.errors import BenchError


def title_numbers(titles: Sequence[str]) -> NDArray[np.int64]:
    """Number titles as prompts show them, equal ones alike, in order of appearance, shape (I,).

    Example:
        >>> title_numbers(["Emma", "Persuasion", "Emma"]).tolist()
        [0, 1, 0]
    """
    known: dict[str, int] = {}
    return np.array([known.setdefault(quotable(title), len(known)) for title in titles])


def drawn(
    windows: Windows,
    weights: NDArray[np.floating],
    titles: Sequence[str],
    num: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw items without replacement, none of them seen by the row.

    Args:
        windows: The rows; a history padded with -1, a target that may be unknown (-1).
        weights: Of each item, 0 or more, shape (I,): an item is drawn in proportion to it. All
            alike for uniform draws, counts for popularity.
        titles: Of each item.
        num: Items a row, K; no two of a row share a title.
        rng: Gives K numbers a row, row after row.

    Returns:
        Item positions, shape (N, K), in the order drawn.

    Raises:
        BenchError: A row has fewer than K titles left.
    """
    alike = _Alike(titles)
    uniform_NK = rng.random((len(windows), num))
    chosen_NK = np.empty((len(windows), num), dtype=np.int64)
    for row, (history, target) in enumerate(zip(windows.histories, windows.targets, strict=True)):
        left = np.array(weights, dtype=np.float64)
        alike.clear(left, [*history, target])
        for place in range(num):
            sums = left.cumsum()
            if not sums[-1] > 0:
                raise _too_few(num)
            # Rounded up to the total it would hit an item past the last one.
            point = min(uniform_NK[row, place] * sums[-1], np.nextafter(sums[-1], 0))
            chosen_NK[row, place] = np.searchsorted(sums, point, side="right")
            alike.clear(left, [chosen_NK[row, place]])
    return chosen_NK


def similar(
    windows: Windows, vectors_ID: NDArray[np.floating], titles: Sequence[str], num: int
) -> NDArray[np.int64]:
    """Return the unseen items whose titles are nearest to the history (RosePO's semantic choice).

    Nearness is the cosine of an item's vector with the mean of the history's vectors. Of equally
    near items the first one wins; a row without a history takes the first items.

    Args:
        windows: The rows.
        vectors_ID: Of the items' titles.
        titles: Of each item.
        num: Items a row, K; no two of a row share a title.

    Returns:
        Item positions, the nearest first, shape (N, K).

    Raises:
        BenchError: A row has fewer than K titles left.
    """
    alike = _Alike(titles)
    vectors = vectors_ID.astype(np.float64)
    lengths_I1 = np.linalg.norm(vectors, axis=1, keepdims=True)
    units_ID = vectors / np.where(lengths_I1 > 0, lengths_I1, 1)
    chosen_NK = np.empty((len(windows), num), dtype=np.int64)
    for row, (history, target) in enumerate(zip(windows.histories, windows.targets, strict=True)):
        # The length of the mean changes no order; and histories may be short, so a sum will do.
        near_I = units_ID @ vectors[history[history >= 0]].sum(0)
        alike.clear(near_I, [*history, target], value=-np.inf)
        for place in range(num):
            best = int(near_I.argmax())
            if near_I[best] == -np.inf:
                raise _too_few(num)
            chosen_NK[row, place] = best
            alike.clear(near_I, [best], value=-np.inf)
    return chosen_NK


def replaced(num_rows: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a share of the rows; a smaller share with the same generator is part of a larger one.

    Args:
        num_rows: N.
        share: From 0 to 1; the number of rows is rounded to the nearest.
        rng: Gives the order in which rows are chosen.

    Raises:
        BenchError: The share is out of its range.
    """
    if not 0 <= share <= 1:
        raise BenchError(f"A share of {share} of the rows cannot be random.", "Give 0 to 1.")
    chosen = np.zeros(num_rows, dtype=np.bool_)
    chosen[rng.permutation(num_rows)[: round(share * num_rows)]] = True
    return chosen


class _Alike:
    """The items of each title."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.numbers = title_numbers(titles)
        order = np.argsort(self.numbers, kind="stable")
        ends = np.cumsum(np.bincount(self.numbers))
        self.items = np.split(order, ends[:-1])

    def clear(
        self, values_I: NDArray[np.float64], items: Sequence[int], *, value: float = 0.0
    ) -> None:
        """Set a value for all items that share a title with these; -1 stands for no item."""
        for item in items:
            if item >= 0:
                values_I[self.items[self.numbers[item]]] = value


def _too_few(num: int) -> BenchError:
    return BenchError(
        f"The catalog has fewer than {num} titles that a user has not seen.",
        "Ask for fewer rejected responses, or take a larger catalog.",
    )
