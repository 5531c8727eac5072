"""How long all metrics of one run take, against the same metrics written as plain loops.

1,000 cases x 4,000 items from given distances, ranking included, k in (1, 5, 10, 20). Both ways run
in this process and must agree. Prints one line: seconds of each (the fastest of a few runs) and
their ratio.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import Ranking, top_items
from bench.metrics.evaluate import evaluate

NUM_CASES, NUM_ITEMS, LENGTH = 1_000, 4_000, 10
KS = (1, 5, 10, 20)
GENRES = tuple(f"genre {number}" for number in range(18))

Result = TypeVar("Result")


def fast(
    distances: NDArray[np.float32],
    targets: NDArray[np.int64],
    histories: NDArray[np.int64],
    catalog: Catalog,
) -> dict[str, float]:
    ranking = Ranking(items=top_items(distances, max(KS)))
    return evaluate(ranking, targets=targets, histories=histories, catalog=catalog, ks=KS).metrics


def naive(
    distances: NDArray[np.float32],
    targets: NDArray[np.int64],
    histories: NDArray[np.int64],
    catalog: Catalog,
) -> dict[str, float]:
    orders = [np.argsort(row, kind="stable") for row in distances]
    ranks = [
        int(np.argwhere(order == target)[0, 0])
        for order, target in zip(orders, targets, strict=True)
    ]
    past = shares_of([item for history in histories for item in history], catalog)
    metrics = {"Hallucination": 0.0}
    for k in KS:
        metrics[f"HR@{k}"] = sum(rank < k for rank in ranks) / len(ranks)
        gains = [1 / math.log2(rank + 2) for rank in ranks if rank < k]
        metrics[f"NDCG@{k}"] = sum(gains) / len(ranks)
        shown = [item for order in orders for item in order[:k].tolist()]
        counts = Counter(shown)
        metrics[f"DivRatio@{k}"] = len(counts) / len(shown)
        metrics[f"ORRatio@{k}"] = sum(n for _, n in counts.most_common(3)) / len(shown)
        metrics[f"Coverage@{k}"] = len(counts) / len(catalog)
        rising = sorted(counts[item] for item in range(len(catalog)))
        weighted = sum(place * count for place, count in enumerate(rising, start=1))
        size = len(catalog)
        metrics[f"Gini@{k}"] = 2 * weighted / (size * len(shown)) - (size + 1) / size
        now = shares_of(shown, catalog)
        gaps = {genre: now[genre] - past[genre] for genre in GENRES}
        metrics[f"MGU@{k}"] = sum(map(abs, gaps.values())) / len(gaps)
        metrics[f"DGU@{k}"] = max(gaps.values()) - min(gaps.values())
        metrics |= {f"GU[{genre}]@{k}": abs(gap) for genre, gap in gaps.items()}
    return metrics


def shares_of(items: Iterable[int], catalog: Catalog) -> dict[str, float]:
    mass = dict.fromkeys(GENRES, 0.0)
    for item in items:
        for genre in catalog.categories[item]:
            mass[genre] += 1 / len(catalog.categories[item])
    total = sum(mass.values())
    return {genre: part / total for genre, part in mass.items()}


def fastest(compute: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    rng = np.random.default_rng(0)
    titles = tuple(f"item {number}" for number in range(NUM_ITEMS))
    categories = tuple(
        tuple(rng.choice(GENRES, size=rng.integers(1, 4), replace=False).tolist()) for _ in titles
    )
    catalog = Catalog(ids=titles, titles=titles, categories=categories, tracked=GENRES)
    data = (
        rng.random((NUM_CASES, NUM_ITEMS), dtype=np.float32),
        rng.integers(0, NUM_ITEMS, NUM_CASES),
        rng.integers(0, NUM_ITEMS, (NUM_CASES, LENGTH)),
        catalog,
    )
    ours, metrics = fastest(lambda: fast(*data), 5)
    theirs, expected = fastest(lambda: naive(*data), 3)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert math.isclose(metrics[name], value, abs_tol=1e-12), name
    print(
        f"metrics of {NUM_CASES} cases x {NUM_ITEMS} items at k={KS}: {ours:.3f} s, "
        f"loops {theirs:.3f} s, ratio {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
