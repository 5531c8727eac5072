"""Seeded draws of samples, so that every method sees the same ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.hashing import derive_seed


def draw_rows(
    samples: range, *, split: str, num: int | None, seed: int, strict: bool
) -> NDArray[np.int64]:
    """Draw samples of a split without replacement.

    A smaller draw with the same seed is part of a larger one, so that budgets nest.

    Args:
        samples: The split's samples.
        split: Its name; each split has its own order.
        num: At most how many; None takes all.
        seed: The data seed, apart from the methods' seeds.
        strict: Refuse a split with fewer samples than asked for.

    Returns:
        Numbers of samples, ascending, shape (min(num, samples),).

    Raises:
        BenchError: Where the split is empty, or too small for a strict draw.
    """
    if not samples:
        raise BenchError(
            f"The {split} split has no samples.", "Change [split] in the card, or take other data."
        )
    if num is None:
        return np.arange(samples.start, samples.stop, dtype=np.int64)
    if strict and num > len(samples):
        raise BenchError(
            f"The {split} split has {len(samples):,} samples, fewer than the {num:,} asked for.",
            "Ask for fewer rows, or leave `strict` out of the board.",
        )
    order = np.random.default_rng(derive_seed("draw", split, seed)).permutation(len(samples))
    return np.sort(order[:num]).astype(np.int64) + samples.start
