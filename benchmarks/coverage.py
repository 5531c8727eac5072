"""How often the 95 % intervals of DivRatio's difference hold the true one.

Two unlike methods recommend one Zipf-distributed item to each of 1,000 users (DivRatio@1). The true
difference is that of the expected values, known in closed form. Users are drawn anew in every
repetition; each time the interval is computed by delete-20 % jackknife, as `bench.stats` does, and
by bootstrap: percentile, basic and normal.

    python benchmarks/coverage.py [repetitions]
"""

from __future__ import annotations

import os
import sys
import time

# BLAS reads its number of threads when numpy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.metrics.registry import get_metric
from bench.stats.intervals import NUM_RESAMPLES, jackknife
from bench.stats.label_swap import label_swap
from bench.stats.samples import Sample
from bench.stats.set_metrics import UnitSums, subtract, sum_units

NUM_USERS, NUM_ITEMS = 1000, 3000
EXPONENTS = 1.25, 0.93
NUM_SWAPS = 999
METRIC = get_metric("DivRatio@1")


def popularity(exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, NUM_ITEMS + 1) ** -exponent
    return np.asarray(weights / weights.sum())


def expected(exponent: float) -> float:
    """Expected share of distinct items: an item is shown unless every user's draw misses it."""
    return float((1 - (1 - popularity(exponent)) ** NUM_USERS).sum() / NUM_USERS)


def pair(exponents: tuple[float, float], seed: int) -> tuple[UnitSums, UnitSums]:
    """Draw the lists of two methods."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"{user:04d}" for user in range(NUM_USERS))
    samples = [
        Sample(
            name=str(exponent),
            seeds=(0,),
            cases=ids,
            users=ids,
            values={},
            items=rng.choice(NUM_ITEMS, size=(1, NUM_USERS, 1), p=popularity(exponent)).astype(
                np.int32
            ),
            known=np.ones(NUM_USERS, dtype=np.bool_),
            masses={},
            history_mass=np.zeros(0),
            tracked=(),
            num_items=NUM_ITEMS,
        )
        for exponent in exponents
    ]
    first, second = sum_units(samples, METRIC, samples[0].units)
    return first, second


def bootstrapped(first: UnitSums, second: UnitSums, seed: int) -> dict[str, tuple[float, float]]:
    """Draw users with replacement; three ways to make an interval of the same draws."""
    rng = np.random.default_rng(seed)
    once = np.ones((NUM_USERS, 1), dtype=np.int32)
    observed = float((second.mean(once) - first.mean(once))[0])
    share = np.full(NUM_USERS, 1 / NUM_USERS)
    weights = rng.multinomial(NUM_USERS, share, size=NUM_RESAMPLES).T.astype(np.int32)
    drawn = second.mean(weights) - first.mean(weights)
    low, high = np.quantile(drawn, [0.025, 0.975])
    reach = float(stats.norm.ppf(0.975) * drawn.std())
    return {
        "bootstrap, percentile": (float(low), float(high)),
        "bootstrap, basic": (float(2 * observed - high), float(2 * observed - low)),
        "bootstrap, normal": (observed - reach, observed + reach),
    }


def main(repetitions: int) -> None:
    started = time.perf_counter()
    truth = expected(EXPONENTS[1]) - expected(EXPONENTS[0])
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    rejected = []
    for seed in range(repetitions):
        first, second = pair(EXPONENTS, seed)
        intervals = {"delete-20 % jackknife": jackknife(subtract(second, first), first, seed=seed)}
        intervals |= bootstrapped(first, second, seed)
        for name, (low, high) in intervals.items():
            held.setdefault(name, []).append(low <= truth <= high)
            widths.setdefault(name, []).append(high - low)
        alike = pair((EXPONENTS[0], EXPONENTS[0]), repetitions + seed)
        rejected.append(label_swap(*alike, num_resamples=NUM_SWAPS, seed=seed) <= 0.05)
    print(
        f"DivRatio@1, {NUM_USERS:,} users, {NUM_ITEMS:,} Zipf items (exponents {EXPONENTS[0]} and "
        f"{EXPONENTS[1]}), true difference {truth:+.4f}; {repetitions} repetitions, "
        f"{NUM_RESAMPLES:,} draws each, {time.perf_counter() - started:.0f} s."
    )
    for name, hits in held.items():
        print(f"  {name:22}  covers {np.mean(hits):6.1%}, mean width {np.mean(widths[name]):.4f}")
    print(f"  label swap of two equal methods rejects at .05 in {np.mean(rejected):.1%}.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
