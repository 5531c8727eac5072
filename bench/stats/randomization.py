"""The p-value of a randomization test: every pattern where they are few, seeded draws otherwise.

Both tests of this room flip a coin per unit: heads leaves the unit alone, tails flips the sign of
its difference (`paired`) or swaps the two methods' lists (`swap`). They share this counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

# Metrics are of order 1: what is smaller than this comes from summing in another order.
ROUNDING = 1e-12


def randomization_p(
    statistic: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    *,
    num_units: int,
    num_resamples: int,
    seed: int,
    batch: int,
    tolerance: float,
) -> float:
    """Two-sided p: the share of patterns whose statistic is at least as far from 0 as observed.

    With at most `num_resamples` patterns all are enumerated and p is exact, a multiple of 2^-U.
    Otherwise the observed pattern is counted beside the drawn ones, p = (1 + hits) / (1 + B): a
    randomization p-value is never 0 (Phipson & Smyth 2010).

    Args:
        statistic: From flips of shape (R, U) to statistics of shape (R,), symmetric about 0 under
            the null hypothesis.
        num_units: U, at least 1.
        num_resamples: B, the number of random patterns, at least 1.
        seed: Of the random patterns.
        batch: Patterns evaluated at once, at least 1; bounds the memory.
        tolerance: How far below the observed one a statistic still counts as equal; sums in another
            order differ in the last bits, and ties are frequent with hit counts.

    Returns:
        p in (0, 1].
    """
    assert num_units >= 1
    assert num_resamples >= 1
    assert batch >= 1
    observed = abs(float(statistic(np.zeros((1, num_units), dtype=np.bool_))[0]))
    exact = num_units < 63 and 2**num_units <= num_resamples
    if exact:
        patterns = _all_flips(num_units, batch)
    else:
        patterns = _random_flips(num_units, num_resamples, seed, batch)
    hits = sum(
        int(np.count_nonzero(np.abs(statistic(flips)) >= observed - tolerance))
        for flips in patterns
    )
    return hits / 2**num_units if exact else (1 + hits) / (1 + num_resamples)


def _all_flips(num_units: int, batch: int) -> Iterator[NDArray[np.bool_]]:
    bits = np.arange(num_units)
    for start in range(0, 2**num_units, batch):
        patterns = np.arange(start, min(start + batch, 2**num_units))
        yield (patterns[:, None] >> bits & 1).astype(np.bool_)


def _random_flips(
    num_units: int, num_resamples: int, seed: int, batch: int
) -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    num_words = -(-num_units // 64)
    for start in range(0, num_resamples, batch):
        # Whole words per pattern: the patterns must not depend on how many fit into a batch.
        num_rows = min(batch, num_resamples - start)
        words = rng.integers(0, 2**64, size=(num_rows, num_words), dtype=np.uint64)
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=num_units)
        yield bits.astype(np.bool_)
