"""How long the statistics of four boards take, against scipy's test and plain loops.

8 methods x 4 data sets x 8 metrics, 1,000 test cases, 5 seeds, 9,999 resamples, every method with
the reference, by Holm, with intervals; one process a data set, as many at a time as
there are cores. The naive way (`scipy.stats.permutation_test` for means over cases, a Python loop
over swaps for set-level metrics; no intervals) is timed on one pair a metric and a share of the
resamples, scaled up, and taken to divide among the cores without loss.

    python benchmarks/stats.py
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

# BLAS reads its number of threads when numpy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.metrics.evaluate import evaluate
from bench.metrics.registry import get_metric
from bench.stats.compare import compare, compare_with_reference
from bench.stats.randomization import NUM_RESAMPLES
from bench.stats.samples import Sample

METRICS = (
    "DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "MGU@1", "MGU@5", "HR@5", "NDCG@5",
)  # fmt: skip
NUM_METHODS, NUM_DATASETS, NUM_SEEDS, NUM_CASES, NUM_ITEMS, K = 8, 4, 5, 1000, 3000, 5
NUM_LOOPED = 100
GENRES = tuple(f"genre {number}" for number in range(18))
CORES = min(NUM_DATASETS, os.cpu_count() or 1)


def catalog(rng: np.random.Generator) -> Catalog:
    """Give every item one to three genres."""
    ids = tuple(str(item) for item in range(NUM_ITEMS))
    categories = tuple(
        tuple(rng.choice(GENRES, size=rng.integers(1, 4), replace=False).tolist()) for _ in ids
    )
    return Catalog(ids=ids, titles=ids, categories=categories, tracked=GENRES)


def methods(dataset: int) -> list[Sample]:
    """Make up methods that differ in skill and in how much they favor popular items."""
    rng = np.random.default_rng(dataset)
    items = catalog(rng)
    targets = rng.integers(0, NUM_ITEMS, size=NUM_CASES)
    histories = rng.integers(0, NUM_ITEMS, size=(NUM_CASES, 10))
    made = []
    for method in range(NUM_METHODS):
        skill, exponent = 0.05 + 0.004 * method, 1 - 0.01 * method
        popularity = np.arange(1, NUM_ITEMS + 1) ** -exponent
        lists = rng.choice(
            NUM_ITEMS, size=(NUM_SEEDS, NUM_CASES, K), p=popularity / popularity.sum()
        ).astype(np.int32)
        hit = rng.random((NUM_SEEDS, NUM_CASES)) < skill
        places = rng.integers(0, K, size=hit.shape)
        seed, case = np.nonzero(hit)
        lists[seed, case, places[hit]] = targets[case]
        scores = [
            evaluate(
                Ranking(items=one), targets=targets, histories=histories, catalog=items, ks=[1, K]
            )
            for one in lists
        ]
        ids = tuple(f"{case:04d}" for case in range(NUM_CASES))
        made.append(
            Sample(
                name=f"method {method}",
                seeds=tuple(range(NUM_SEEDS)),
                cases=ids,
                users=ids,
                values={
                    name: np.stack([one.cases[name] for one in scores]) for name in scores[0].cases
                },
                items=lists,
                known=scores[0].known,
                masses={k: np.stack([one.masses[k] for one in scores]) for k in (1, K)},
                history_mass=scores[0].history_mass,
                tracked=GENRES,
                num_items=NUM_ITEMS,
            )
        )
    return made


def board(dataset: int) -> dict[str, float]:
    """Judge one data set; returns the seconds of each metric."""
    reference, *others = methods(dataset)
    seconds = {}
    for metric in METRICS:
        started = time.perf_counter()
        family = compare_with_reference(reference, others, metric)
        seconds[metric] = time.perf_counter() - started
        assert len(family) == NUM_METHODS - 1
    return seconds


def value(
    lists: list[list[list[int]]], genres: list[set[str]], history: dict[str, float], name: str
) -> float:
    """Compute a set-level metric with plain loops, mean over the seeds."""
    metric, total = get_metric(name), 0.0
    for seed in lists:
        shown = [item for one in seed for item in one[: metric.k]]
        if metric.family == "DivRatio":
            total += len(set(shown)) / len(shown)
        elif metric.family == "ORRatio":
            total += sum(count for _, count in Counter(shown).most_common(3)) / len(shown)
        else:
            mass = dict.fromkeys(GENRES, 0.0)
            for item in shown:
                for genre in genres[item]:
                    mass[genre] += 1 / len(genres[item])
            whole = math.fsum(mass.values())
            total += sum(abs(mass[genre] / whole - history[genre]) for genre in GENRES) / len(mass)
    return total / len(lists)


def looped_seconds(first: Sample, second: Sample, name: str, num_swaps: int) -> float:
    """Time label swaps one by one, and scale up to all of them."""
    genres = [set(names) for names in catalog(np.random.default_rng(0)).categories]
    mass = dict(zip(GENRES, first.history_mass / first.history_mass.sum(), strict=True))
    pairs = list(zip(first.items.tolist(), second.items.tolist(), strict=True))
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(num_swaps):
        swapped = (rng.random(NUM_CASES) < 0.5).tolist()
        one = [[b if s else a for a, b, s in zip(x, y, swapped, strict=True)] for x, y in pairs]
        two = [[a if s else b for a, b, s in zip(x, y, swapped, strict=True)] for x, y in pairs]
        value(two, genres, mass, name) - value(one, genres, mass, name)
    return (time.perf_counter() - started) * NUM_RESAMPLES / num_swaps


def scipy_seconds(first: Sample, second: Sample, name: str) -> float:
    """Time scipy's paired permutation test of the seeds' mean, all resamples."""
    pair: list[NDArray[np.float64]] = [one.values[name].mean(axis=0) for one in (first, second)]
    started = time.perf_counter()
    stats.permutation_test(
        pair,
        lambda x, y, axis: np.mean(y - x, axis=axis),
        permutation_type="samples",
        n_resamples=NUM_RESAMPLES,
        vectorized=True,
        batch=500,
        rng=0,
    )
    return time.perf_counter() - started


def naive_seconds() -> float:
    """Time one pair a metric, and scale up to all pairs, data sets and cores."""
    first, second = methods(0)[:2]
    pair = sum(
        scipy_seconds(first, second, name)
        if get_metric(name).per_case
        else looped_seconds(first, second, name, NUM_LOOPED)
        for name in METRICS
    )
    return pair * (NUM_METHODS - 1) * NUM_DATASETS / CORES


def main() -> None:
    first, second = methods(0)[:2]
    singles = {}
    for metric in METRICS:
        started = time.perf_counter()
        compare(first, second, metric)
        singles[metric] = time.perf_counter() - started
    slowest = max(singles, key=lambda name: singles[name])
    started = time.perf_counter()
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(board, range(NUM_DATASETS)))
    seconds = time.perf_counter() - started
    naive = naive_seconds()
    print(
        f"{naive / seconds:.0f} times as quick: {NUM_METHODS} methods x {NUM_DATASETS} data sets x "
        f"{len(METRICS)} metrics in {seconds:.1f} s on {CORES} cores ({NUM_CASES} cases, "
        f"{NUM_SEEDS} seeds, {NUM_RESAMPLES} resamples; intervals among them). The naive way takes "
        f"{naive:.0f} s on as many (scaled up from one pair a metric, and {NUM_LOOPED} swaps of "
        f"set-level ones). One pair at one k: at most {singles[slowest]:.2f} s ({slowest})."
    )
    for metric in METRICS:
        print(
            f"  {metric}: one pair {singles[metric]:.2f} s; all {sum(p[metric] for p in parts):.1f}"
            " s of one core"
        )


if __name__ == "__main__":
    main()
