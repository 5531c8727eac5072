"""p-values of randomization tests: all patterns where there are few, otherwise random ones.

Both tests flip a coin per unit: heads leaves the unit as it is, tails flips the sign of its
difference (`bench.stats.paired`) or swaps the two methods' lists (`bench.stats.label_swap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

# Metrics are of order 1: anything smaller than this comes from summing in another order.
ROUNDING = 1e-12
NUM_RESAMPLES = 9999


def randomization_p(
    statistic: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    *,
    num_units: int,
    num_resamples: int,
    seed: int,
    batch_size: int,
    tolerance: float,
) -> float:
    """Compute the two-sided p: the fraction of patterns at least as far from 0 as the observed one.

    With at most `num_resamples` patterns all are enumerated and p is exact, a multiple of 2^-U.
    Otherwise the observed pattern is counted with the random ones, p = (1 + hits) / (1 + R): a
    randomization p-value is never 0 (Phipson & Smyth 2010).

    Args:
        statistic: From flips of shape (R, U) to statistics of shape (R,), symmetric about 0 under
            the null hypothesis.
        num_units: U, at least 1.
        num_resamples: R, the number of random patterns, at least 1.
        seed: Of the random patterns.
        batch_size: Patterns evaluated at once, at least 1; bounds the memory.
        tolerance: How far below the observed one a statistic still counts as equal; sums in another
            order differ in the last bits, and ties are frequent with hit counts.

    Returns:
        p in (0, 1].
    """
    assert num_units >= 1
    assert num_resamples >= 1
    assert batch_size >= 1
    observed = abs(float(statistic(np.zeros((1, num_units), dtype=np.bool_))[0]))
    exact = num_units < 63 and 2**num_units <= num_resamples
    if exact:
        patterns = _enumerate_flips(num_units, batch_size)
    else:
        patterns = _draw_flips(num_units, num_resamples, seed, batch_size)
    num_hits = sum(
        int(np.count_nonzero(np.abs(statistic(flips)) >= observed - tolerance))
        for flips in patterns
    )
    return num_hits / 2**num_units if exact else (1 + num_hits) / (1 + num_resamples)


def _enumerate_flips(num_units: int, batch_size: int) -> Iterator[NDArray[np.bool_]]:
    bits = np.arange(num_units)
    for start in range(0, 2**num_units, batch_size):
        patterns = np.arange(start, min(start + batch_size, 2**num_units))
        yield (patterns[:, None] >> bits & 1).astype(np.bool_)


def _draw_flips(
    num_units: int, num_resamples: int, seed: int, batch_size: int
) -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    num_words = -(-num_units // 64)
    for start in range(0, num_resamples, batch_size):
        # Whole words per pattern: the patterns must not depend on the batch size.
        num_rows = min(batch_size, num_resamples - start)
        words = rng.integers(0, 2**64, size=(num_rows, num_words), dtype=np.uint64)
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=num_units)
        yield bits.astype(np.bool_)
