"""Seeded subsets of a split, so that every method sees the same samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.hashing import derive_seed


def sample_rows(
    samples: range, *, split: str, num: int | None, seed: int, strict: bool
) -> NDArray[np.int64]:
    """Sample rows of a split without replacement.

    A smaller subset with the same seed is part of a larger one, so that budgets nest.

    Args:
        samples: The split's samples.
        split: Its name; each split has its own random order.
        num: Maximum number of rows; None takes all.
        seed: The data seed, independent of the methods' seeds.
        strict: Whether fewer samples than `num` are an error.

    Returns:
        Indices of samples, ascending, shape (min(num, samples),).

    Raises:
        BenchError: The split is empty, or too small and `strict`.
    """
    if not samples:
        raise BenchError(
            f"The {split} split has no samples.", "Change [split] in the card, or use other data."
        )
    if num is None:
        return np.arange(samples.start, samples.stop, dtype=np.int64)
    if strict and num > len(samples):
        raise BenchError(
            f"The {split} split has {len(samples):,} samples, fewer than the {num:,} requested.",
            "Request fewer rows, or remove `strict` from the board.",
        )
    order = np.random.default_rng(derive_seed("draw", split, seed)).permutation(len(samples))
    return np.sort(order[:num]).astype(np.int64) + samples.start
