"""Selection of negative items: those that preference training ranks below the target.

No negative item shares the title of the target or of an item of the history, because a prompt shows
titles only. Each row has random numbers of its own, so its negatives depend only on the seed and
its index. Shapes: N rows, H longest history, I items, K items per row, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.prompts import quotable
from bench.data.windows import Windows
from bench.errors import BenchError


def number_titles(titles: Sequence[str]) -> NDArray[np.int64]:
    """Number the distinct titles, as prompts show them, by first appearance, shape (I,).

    Example:
        >>> number_titles(["Emma", "Persuasion", "Emma"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(quotable(title), len(numbers)) for title in titles])


def sample_negatives(
    windows: Windows,
    weights: NDArray[np.floating],
    titles: Sequence[str],
    num: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Sample items without replacement, none of them in the row's history or its target.

    Args:
        windows: The rows.
        weights: Sampling weight of each item, at least 0, shape (I,): equal for uniform sampling,
            counts for popularity.
        titles: Title of each item.
        num: Items per row, K; no two of a row share a title.
        rng: Generates K numbers per row, row after row.

    Returns:
        Item indices, shape (N, K), in the order sampled.

    Raises:
        BenchError: A row has fewer than K titles left.
    """
    groups = _TitleGroups(titles)
    uniform_NK = rng.random((len(windows), num))
    items_NK = np.empty((len(windows), num), dtype=np.int64)
    for row, (history, target) in enumerate(zip(windows.histories, windows.targets, strict=True)):
        weights_I = np.array(weights, dtype=np.float64)
        groups.clear(weights_I, [*history, target])
        for k in range(num):
            sums_I = weights_I.cumsum()
            if not sums_I[-1] > 0:
                raise _too_few_titles(num)
            # Rounded up to the total it would select an item past the last one.
            point = min(uniform_NK[row, k] * sums_I[-1], np.nextafter(sums_I[-1], 0))
            items_NK[row, k] = np.searchsorted(sums_I, point, side="right")
            groups.clear(weights_I, [items_NK[row, k]])
    return items_NK


def select_similar(
    windows: Windows, vectors_ID: NDArray[np.floating], titles: Sequence[str], num: int
) -> NDArray[np.int64]:
    """Select the unseen items nearest to the history by title (RosePO's semantic negatives).

    Items are ranked by the cosine of their vector with the mean of the history's vectors, ties by
    index; a row without a history gets the first items.

    Args:
        windows: The rows.
        vectors_ID: Vector of each item's title.
        titles: Title of each item.
        num: Items per row, K; no two of a row share a title.

    Returns:
        Item indices, the nearest first, shape (N, K).

    Raises:
        BenchError: A row has fewer than K titles left.
    """
    groups = _TitleGroups(titles)
    vectors = vectors_ID.astype(np.float64)
    lengths_I1 = np.linalg.norm(vectors, axis=1, keepdims=True)
    units_ID = vectors / np.where(lengths_I1 > 0, lengths_I1, 1)
    items_NK = np.empty((len(windows), num), dtype=np.int64)
    for row, (history, target) in enumerate(zip(windows.histories, windows.targets, strict=True)):
        # The sum ranks items like the mean and exists for empty histories, too.
        scores_I = units_ID @ vectors[history[history >= 0]].sum(0)
        groups.clear(scores_I, [*history, target], value=-np.inf)
        for k in range(num):
            best = int(scores_I.argmax())
            if scores_I[best] == -np.inf:
                raise _too_few_titles(num)
            items_NK[row, k] = best
            groups.clear(scores_I, [best], value=-np.inf)
    return items_NK


def choose_random_rows(num_rows: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a fraction of the rows; with the same generator, smaller fractions are subsets.

    Args:
        num_rows: N.
        share: From 0 to 1; the number of rows is rounded to the nearest.
        rng: Gives the order in which rows are chosen.

    Returns:
        True for the chosen rows, shape (N,).

    Raises:
        BenchError: The fraction is out of range.
    """
    if not 0 <= share <= 1:
        raise BenchError(f"The fraction of random rows is {share}.", "Use a number from 0 to 1.")
    mask = np.zeros(num_rows, dtype=np.bool_)
    mask[rng.permutation(num_rows)[: round(share * num_rows)]] = True
    return mask


class _TitleGroups:
    """The items of each distinct title."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.numbers = number_titles(titles)
        order = np.argsort(self.numbers, kind="stable")
        ends = np.cumsum(np.bincount(self.numbers))
        self.items = np.split(order, ends[:-1])

    def clear(
        self, values_I: NDArray[np.float64], items: Sequence[int], *, value: float = 0.0
    ) -> None:
        """Set a value for all items that share a title with these; -1 means no item."""
        for item in items:
            if item >= 0:
                values_I[self.items[self.numbers[item]]] = value


def _too_few_titles(num: int) -> BenchError:
    return BenchError(
        f"The catalog has fewer than {num} titles that a user has not seen.",
        "Use fewer rejected responses, or a data set with more items.",
    )
