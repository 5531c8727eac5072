"""Selection of negative items: those that preference training ranks below the target.

No negative item shares the title of the target or of an item of the history, because a prompt shows
titles only, and no two negatives of a row share a title. Each row has random numbers of its own, so
its negatives depend only on the seed and its index.

Shapes: N rows, H longest history, I items, K items per row, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.prompts import quotable
from bench.data.windows import Windows
from bench.errors import BenchError

Vector = NDArray[np.float64]


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
    """Sample items without replacement, row after row with K numbers of the generator each.

    Weights, shape (I,) and at least 0, are equal for uniform sampling, counts for popularity.

    Returns:
        Item indices, shape (N, K), in the order sampled.

    Raises:
        BenchError: A row has fewer than K titles left.
    """
    uniform_NK = rng.random((len(windows), num))

    def sample(weights_I: Vector, row: int, k: int) -> int:
        sums_I = weights_I.cumsum()
        # Rounded up to the total it would select an item past the last one.
        point = min(uniform_NK[row, k] * sums_I[-1], np.nextafter(sums_I[-1], 0))
        return int(np.searchsorted(sums_I, point, side="right"))

    return _select(windows, titles, num, lambda _: np.array(weights, np.float64), sample, 0.0)


def select_similar(
    windows: Windows, vectors_ID: NDArray[np.floating], titles: Sequence[str], num: int
) -> NDArray[np.int64]:
    """Select the items nearest to the history by title (RosePO's semantic negatives).

    Items are ranked by the cosine of their title's vector with the mean of the history's vectors,
    ties by index; a row without a history gets the first items. Shape and errors are those of
    `sample_negatives`.
    """
    vectors = vectors_ID.astype(np.float64)
    lengths_I1 = np.linalg.norm(vectors, axis=1, keepdims=True)
    units_ID = vectors / np.where(lengths_I1 > 0, lengths_I1, 1)

    # The sum ranks items like the mean and exists for empty histories, too.
    def score(history: NDArray[np.int32]) -> Vector:
        return np.asarray(units_ID @ vectors[history[history >= 0]].sum(0))

    return _select(windows, titles, num, score, lambda scores, *_: int(scores.argmax()), -np.inf)


def _select(
    windows: Windows,
    titles: Sequence[str],
    num: int,
    score: Callable[[NDArray[np.int32]], Vector],
    pick: Callable[[Vector, int, int], int],
    excluded: float,
) -> NDArray[np.int64]:
    """Pick items by a row's scores, in which `excluded` marks what cannot be picked any more."""
    numbers = number_titles(titles)
    order = np.argsort(numbers, kind="stable")
    same_title = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    items_NK = np.empty((len(windows), num), dtype=np.int64)
    for row, (history, target) in enumerate(zip(windows.histories, windows.targets, strict=True)):
        scores_I = score(history)
        for item in (*history, target):
            if item >= 0:
                scores_I[same_title[numbers[item]]] = excluded
        for k in range(num):
            if not (scores_I > excluded).any():
                raise BenchError(
                    f"The catalog has fewer than {num} titles that a user has not seen.",
                    "Use fewer rejected responses, or a data set with more items.",
                )
            items_NK[row, k] = item = pick(scores_I, row, k)
            scores_I[same_title[numbers[item]]] = excluded
    return items_NK


def choose_random_rows(num_rows: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark a fraction of N rows, rounded to the nearest number, as True, shape (N,).

    With the same generator, smaller fractions are subsets.

    Raises:
        BenchError: The fraction is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise BenchError(f"The fraction of random rows is {share}.", "Use a number from 0 to 1.")
    mask = np.zeros(num_rows, dtype=np.bool_)
    mask[rng.permutation(num_rows)[: round(share * num_rows)]] = True
    return mask
