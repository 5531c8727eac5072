"""How much quicker the label swap is than a plain loop over swaps.

9,999 swaps of two methods with 1,000 lists of 5 items, metric DivRatio@5, one process and one
thread. The loop is timed on fewer swaps and scaled up.

    python benchmarks/swaps.py
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

# BLAS reads its number of threads when numpy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np

from bench.metrics.registry import get_metric
from bench.stats.label_swap import label_swap
from bench.stats.samples import Sample
from bench.stats.set_metrics import sum_units

NUM_CASES, K, NUM_ITEMS = 1000, 5, 3000
NUM_SWAPS, NUM_LOOPED = 9999, 1000


def sample(name: str, exponent: float, seed: int) -> Sample:
    """Draw lists whose items follow a Zipf law of this exponent."""
    popularity = np.arange(1, NUM_ITEMS + 1) ** -exponent
    items = np.random.default_rng(seed).choice(
        NUM_ITEMS, size=(1, NUM_CASES, K), p=popularity / popularity.sum()
    )
    ids = tuple(str(case) for case in range(NUM_CASES))
    return Sample(
        name=name,
        seeds=(0,),
        cases=ids,
        users=ids,
        values={},
        items=items.astype(np.int32),
        known=np.ones(NUM_CASES, dtype=np.bool_),
        masses={},
        history_mass=np.zeros(0),
        tracked=(),
        num_items=NUM_ITEMS,
    )


def looped(first: list[list[int]], second: list[list[int]], num_swaps: int) -> tuple[float, float]:
    """Swap lists one by one and count distinct items with sets.

    Returns:
        The observed difference and p.
    """

    def difference(one: list[list[int]], two: list[list[int]]) -> float:
        num_slots = len(one) * K
        return (len(set().union(*two)) - len(set().union(*one))) / num_slots

    draw = random.Random(0)
    observed = difference(first, second)
    hits = 0
    for _ in range(num_swaps):
        one, two = [], []
        for mine, theirs in zip(first, second, strict=True):
            kept = draw.random() < 0.5
            one.append(mine if kept else theirs)
            two.append(theirs if kept else mine)
        hits += abs(difference(one, two)) >= abs(observed) - 1e-12
    return observed, (1 + hits) / (1 + num_swaps)


def best_of_three(work: Callable[[], object]) -> float:
    """Time the quickest of three runs: the others say more about the machine's other work."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    first, second = sample("first", 1.0, seed=1), sample("second", 0.98, seed=2)
    units, metric = first.units, get_metric(f"DivRatio@{K}")
    one, two = sum_units([first, second], metric, units)
    observed = float((two.mean(units.equal_weights) - one.mean(units.equal_weights))[0])
    lists = first.items[0].tolist(), second.items[0].tolist()
    plain, _ = looped(*lists, 1)

    seconds = best_of_three(
        lambda: label_swap(*sum_units([first, second], metric, units), num_resamples=NUM_SWAPS)
    )
    plain_seconds = best_of_three(lambda: looped(*lists, NUM_LOOPED)) * NUM_SWAPS / NUM_LOOPED
    print(
        f"{plain_seconds / seconds:.0f} times as quick: {NUM_SWAPS} label swaps of {NUM_CASES} x "
        f"{K} lists in {seconds:.2f} s; a Python loop takes {plain_seconds:.1f} s "
        f"(scaled up from {NUM_LOOPED} swaps; best of three runs each)."
    )
    print(f"Observed difference: ours {observed:.6f}, loop {plain:.6f}.")


if __name__ == "__main__":
    main()
