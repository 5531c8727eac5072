"""Set-level metrics as functions of sums over units, which makes them fast to resample.

Diversity metrics are functions of how often each item is recommended, fairness metrics of how much
mass each category gets. Both are sums over lists, hence over units: swapping lists, resampling
units and leaving units out all weight the columns of one matrix with X rows (items or categories)
and U columns (units), and thousands of weightings are a single matrix product.

Legend: S seeds, C cases, U units, R resamples, X items or categories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.data.ranking import LIST_ENDS
from bench.errors import BenchError, unknown
from bench.metrics.metric import CategoryMass, ItemCounts, Metric
from bench.stats.samples import Sample, Units, require_finite

# Counts (integers) or masses (float64).
Sums = NDArray[Any]
# From sums (R, X) and numbers of lists (R,) to values (R,).
Score = Callable[[Sums, NDArray[np.float64]], NDArray[np.float64]]
# How often each unit counts, shape (U, R).
Weights = NDArray[Any]
# From weights (U, R) to a value or a difference of values, shape (R,).
Statistic = Callable[[Weights], NDArray[np.float64]]

MAX_BATCH_ELEMENTS = 1 << 21


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSums:
    """The lists of one method, summed within units.

    Attributes:
        amounts: One matrix per seed, shape (X, U): how often each item is recommended (int32), or
            the mass of each category (float64). X may differ between seeds.
        sizes: Number of lists of each unit, shape (U,).
        score: The metric.
    """

    amounts: tuple[sparse.csr_array, ...]
    sizes: NDArray[np.intp]
    score: Score

    @property
    def batch_size(self) -> int:
        """How many weightings to evaluate at once, so that the sums take some megabytes at most."""
        width = max(len(self.sizes), *(amounts.shape[0] for amounts in self.amounts))
        return max(1, MAX_BATCH_ELEMENTS // width)

    def score_seeds(self, weights: Weights) -> NDArray[np.float64]:
        """Evaluate the metric once per seed and weighting.

        Args:
            weights: How often each unit counts, shape (U, R), the same for all seeds.

        Returns:
            Shape (S, R).
        """
        num_lists = (self.sizes @ weights).astype(np.float64)
        # scipy's product is several times slower on another layout or with another type.
        factor = np.ascontiguousarray(weights, dtype=self.amounts[0].dtype)
        return np.stack([self.score((amounts @ factor).T, num_lists) for amounts in self.amounts])

    def mean(self, weights: Weights) -> NDArray[np.float64]:
        """Average `score_seeds` over the seeds, shape (R,)."""
        return np.asarray(self.score_seeds(weights).mean(axis=0))


def sum_units(samples: Sequence[Sample], metric: Metric, units: Units) -> tuple[UnitSums, ...]:
    """Sum up the lists of methods that are compared on a set-level metric.

    Args:
        samples: Methods on the same cases with the same number of seeds, known targets only.
        metric: A set-level metric.
        units: Of these cases.

    Returns:
        One entry per method, over the same items or categories.

    Raises:
        BenchError: If a list is shorter than k, the catalog tracks no category where the metric
            needs one, or the category masses at k were not recorded.
    """
    assert metric.k is not None, "set-level metrics take a k"
    sum_seed = _count_items if metric.score_counts else _sum_masses
    by_seed = [sum_seed(samples, seed, metric.k, units) for seed in range(len(samples[0].seeds))]
    score = _score(metric, samples[0])
    return tuple(
        UnitSums(amounts=amounts, sizes=units.sizes, score=score)
        for amounts in zip(*by_seed, strict=True)
    )


def _count_items(
    samples: Sequence[Sample], seed: int, k: int, units: Units
) -> list[sparse.csr_array]:
    """Count items by unit; only items in some list get a row, since X decides the cost."""
    lists = [_top_k(sample, seed, k) for sample in samples]
    distinct, rows = np.unique(np.stack(lists), return_inverse=True)
    num_invalid = int(np.searchsorted(distinct, 0))
    columns = np.repeat(units.of_case, k)
    counts = []
    for item_rows in rows.reshape(len(lists), -1):
        valid = item_rows >= num_invalid
        entries = (item_rows[valid] - num_invalid, columns[valid])
        counts.append(
            sparse.csr_array(
                (np.ones(len(entries[0]), dtype=np.int32), entries),
                shape=(len(distinct) - num_invalid, units.num),
            )
        )
    return counts


def _top_k(sample: Sample, seed: int, k: int) -> NDArray[np.int32]:
    top = sample.items[seed, :, :k]
    short = np.flatnonzero((top == LIST_ENDS).any(axis=1))
    if top.shape[1] < k or len(short):
        case = sample.cases[short[0] if len(short) else 0]
        raise BenchError(
            f"The list of {sample.name} for case {case} is shorter than k={k}.",
            f"Diversity is compared at equal list lengths: record at least {k} items per case.",
        )
    return top


def _sum_masses(
    samples: Sequence[Sample], seed: int, k: int, units: Units
) -> list[sparse.csr_array]:
    sums = []
    for sample in samples:
        if k not in sample.masses:
            available = [f"@{length}" for length in sample.masses]
            raise unknown(f"category mass of {sample.name}", f"@{k}", available)
        mass = sample.masses[k]
        require_finite(sample, f"The category mass @{k}", mass)
        by_unit = np.zeros((units.num, mass.shape[2]))
        np.add.at(by_unit, units.of_case, mass[seed])
        sums.append(sparse.csr_array(by_unit.T))
    return sums


def _score(metric: Metric, sample: Sample) -> Score:
    k, num_items, history = metric.k or 1, sample.num_items, sample.history_mass
    score_counts, score_masses = metric.score_counts, metric.score_masses
    if score_counts:
        return lambda counts, num_lists: score_counts(
            ItemCounts(counts=counts, num_lists=num_lists, k=k, num_items=num_items)
        )
    assert score_masses is not None, f"{metric.name} is not a set-level metric"
    if not sample.tracked:
        raise BenchError(f"{metric.name} needs categories, but the catalog tracks none.")
    if metric.category and metric.category not in sample.tracked:
        raise unknown("tracked category", metric.category, sample.tracked)
    index = sample.tracked.index(metric.category) if metric.category else 0
    return lambda masses, _: score_masses(
        CategoryMass(recommended=masses, history=history, index=index)
    )
