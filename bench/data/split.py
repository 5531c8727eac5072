"""Samples as windows over sorted interactions, split by the time of their targets.

SPRec (Gao et al., WWW 2025) follows D3's and BIGRec's code here: one sample a position that has
enough history, all samples sorted by target time, cut 8:1:1. Users occur in several splits; what
is exclusive is the sample, and no split reaches back behind the one before it. A card may ask for
the other reading of "8:1:1", each user's samples apart; then users and times both overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Split


@dataclass(frozen=True, kw_only=True)
class Samples:
    """N samples, split after split in order of the target's time, as offsets into interactions.

    Attributes:
        start: First interaction of each history, shape (N,); the history ends before the target.
        target: Interaction to be predicted, shape (N,).
        boundaries: Samples below the first are train, below the second valid, the rest test.
    """

    start: NDArray[np.int64]
    target: NDArray[np.int64]
    boundaries: tuple[int, int]


def interaction_order(
    users: NDArray[np.int32], times: NDArray[np.int64], lines: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return the order by user, then time, then line number."""
    return np.lexsort((lines, times, users))


def samples(users: NDArray[np.int32], times: NDArray[np.int64], split: Split) -> Samples:
    """Cut sorted interactions into samples and split them by time.

    Args:
        users: User positions, ascending, shape (L,).
        times: Seconds, ascending within a user, shape (L,).
        split: Window lengths, ratios and what they are of.

    Returns:
        The samples; equal times stay in order of user, then position (stable sort).
    """
    offsets = np.arange(len(users), dtype=np.int64)
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    first = np.maximum.accumulate(np.where(is_first, offsets, 0))
    target = offsets[offsets - first >= split.min_history]
    ends = boundaries(len(target), split.ratios)
    if split.over == "user":
        part = _parts_by_user(users[target], split.ratios)
        target = target[np.lexsort((times[target], part))]
        ends = int((part < 1).sum()), int((part < 2).sum())
    else:
        target = target[np.argsort(times[target], kind="stable")]
    return Samples(
        start=np.maximum(target - split.history, first[target]), target=target, boundaries=ends
    )


def _parts_by_user(users: NDArray[np.int32], ratios: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return 0, 1 or 2 for train, valid, test of samples sorted by user and time, shape (N,)."""
    _, first, inverse, num = np.unique(
        users, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(len(users)) - first[inverse]
    train, valid, _ = ratios
    ends = [num * share // sum(ratios) for share in (train, train + valid)]
    parts: NDArray[np.int64] = np.sum([place >= end[inverse] for end in ends], axis=0)
    return parts


def boundaries(num: int, ratios: tuple[int, int, int]) -> tuple[int, int]:
    """Return where train and valid end among `num` samples; whole numbers, rounded down.

    Example:
        >>> boundaries(90_570, (8, 1, 1))
        (72456, 81513)
    """
    train, valid, _ = ratios
    return num * train // sum(ratios), num * (train + valid) // sum(ratios)


def covered(
    start: NDArray[np.int64], target: NDArray[np.int64], num_interactions: int
) -> NDArray[np.int64]:
    """Return the interactions that lie in any of the windows or are their targets, each once.

    Args:
        start: First interaction of each window, shape (N,).
        target: Target of each window, shape (N,).
        num_interactions: L.

    Returns:
        Offsets, ascending.
    """
    depth = np.zeros(num_interactions + 1, dtype=np.int64)
    np.add.at(depth, start, 1)
    np.add.at(depth, target + 1, -1)
    return np.flatnonzero(np.cumsum(depth[:-1]) > 0)
