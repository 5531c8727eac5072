"""Windows over sorted interactions, split by the time of their targets, and subsets of splits.

SPRec (Gao et al., WWW 2025) follows D3's and BIGRec's code here: one sample per interaction with
enough history, all samples sorted by target time, split 8:1:1. Splits share users but no samples,
and no split begins before the previous one ends. A card may choose the other reading of "8:1:1",
each user's samples split separately; then the times of the splits overlap, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Split


@dataclass(frozen=True, kw_only=True)
class Samples:
    """N samples as indices of interactions, split after split in order of the target's time.

    Attributes:
        start: First interaction of each history, shape (N,); the history ends before the target.
        target: Interaction to predict, shape (N,).
        boundaries: Where train and valid end among the samples.
    """

    start: NDArray[np.int64]
    target: NDArray[np.int64]
    boundaries: tuple[int, int]


def sort_interactions(
    users: NDArray[np.int32], times: NDArray[np.int64], lines: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return the indices that sort by user, then time, then line number."""
    return np.lexsort((lines, times, users))


def make_samples(users: NDArray[np.int32], times: NDArray[np.int64], split: Split) -> Samples:
    """Build samples from sorted interactions and split them by time.

    Args:
        users: User indices, ascending, shape (L,).
        times: Seconds, ascending within a user, shape (L,).
        split: The card's window lengths and ratios.

    Returns:
        The samples; equal times stay in order of user, then interaction (stable sort).
    """
    offsets = np.arange(len(users), dtype=np.int64)
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    first = np.maximum.accumulate(np.where(is_first, offsets, 0))
    target = offsets[offsets - first >= split.min_history]
    ends = split_boundaries(len(target), split.ratios)
    if split.over == "user":
        part = _split_by_user(users[target], split.ratios)
        target = target[np.lexsort((times[target], part))]
        ends = int((part < 1).sum()), int((part < 2).sum())
    else:
        target = target[np.argsort(times[target], kind="stable")]
    return Samples(
        start=np.maximum(target - split.history, first[target]), target=target, boundaries=ends
    )


def _split_by_user(users: NDArray[np.int32], ratios: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return 0, 1 or 2 for train, valid, test of samples sorted by user and time, shape (N,)."""
    _, first, inverse, num = np.unique(
        users, return_index=True, return_inverse=True, return_counts=True
    )
    index = np.arange(len(users)) - first[inverse]
    train, valid, _ = ratios
    ends = [num * share // sum(ratios) for share in (train, train + valid)]
    parts: NDArray[np.int64] = np.sum([index >= end[inverse] for end in ends], axis=0)
    return parts


def split_boundaries(num: int, ratios: tuple[int, int, int]) -> tuple[int, int]:
    """Return where train and valid end among `num` samples, rounded down.

    Example:
        >>> split_boundaries(90_570, (8, 1, 1))
        (72456, 81513)
    """
    train, valid, _ = ratios
    return num * train // sum(ratios), num * (train + valid) // sum(ratios)
