"""Set-level metrics as functions of sums over units, and their jackknife over users.

Diversity metrics are functions of how often each item is recommended, fairness metrics of how much
mass each category gets in lists and histories. Both are sums over cases, hence over units: leaving
users out subtracts columns of one matrix with X rows (items or categories).

Leaving out one user at a time gives a variance that is never too small in expectation (Efron &
Stein, Annals of Statistics 9, 1981), for metrics that are not smooth, too. Drawing users with
replacement repeats their lists and loses distinct items: for DivRatio its interval misses the true
difference in up to 29 % of samples instead of 5 %. Many users are left out in `MAX_GROUPS` groups.

Legend: S seeds, C cases, U units, N groups of units, X items or categories, G categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.data.ranking import LIST_ENDS
from bench.errors import BenchError, unknown
from bench.metrics.metric import CategoryMass, ItemCounts, Metric
from bench.stats.inference import SeedValues
from bench.stats.samples import Sample, require_finite

# Counts (integers) or masses (float64).
Sums = NDArray[Any]
# From sums (R, X), numbers of lists (R,) and history masses (R, G) to values (R,).
Score = Callable[[Sums, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

MAX_GROUPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSums:
    """The lists of one method, summed within units.

    Attributes:
        amounts: One matrix per seed, shape (X, U): how often each item is recommended (int32), or
            the mass of each category (float64). X may differ between seeds.
        sizes: Number of lists of each unit, shape (U,); 0 where no target is in the catalog.
        histories: Category mass of each unit's histories, shape (G, U).
    """

    amounts: tuple[sparse.csr_array, ...]
    sizes: NDArray[np.float64]
    histories: NDArray[np.float64]
    score: Score

    def jackknife(self) -> SeedValues:
        """Compute the metric per seed, and again without each unit or group of units."""
        num_units = len(self.sizes)
        num_groups = min(num_units, MAX_GROUPS)
        # Ids may follow the time of registration: groups must not.
        group_of = np.random.default_rng(0).permutation(num_units) % num_groups
        members = sparse.csr_array(
            (np.ones(num_units, dtype=np.int32), (np.arange(num_units), group_of)),
            shape=(num_units, num_groups),
        )
        lists = np.bincount(group_of, weights=self.sizes)[None]
        histories = _sum_rows(self.histories.T, group_of, num_groups).T
        values, deviations = [], []
        for amounts in self.amounts:
            product: Any = amounts @ members  # scipy's types leave the kind of array open
            parts: list[NDArray[Any]] = [product.toarray(), lists, histories]
            totals = [part.sum(axis=1, keepdims=True) for part in parts]
            values.append(self._score(*totals)[0])
            rest = [total - part for total, part in zip(totals, parts, strict=True)]
            with np.errstate(divide="ignore", invalid="ignore"):  # of a single unit none is left
                without = self._score(*rest)
            deviations.append((without - without.mean()) * np.sqrt((num_groups - 1) / num_groups))
        return SeedValues(values=np.array(values), deviations=np.stack(deviations))

    def _score(
        self, amounts: Sums, num_lists: NDArray[np.float64], histories: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return self.score(amounts.T, num_lists[0], histories.T)


def sum_units(sample: Sample, metric: Metric) -> UnitSums:
    """Sum up the lists of a method for a set-level metric.

    Raises:
        BenchError: If no target is in the catalog, a list is shorter than k, the catalog tracks no
            category where the metric needs one, or the category masses at k were not recorded.
    """
    assert metric.k is not None, "set-level metrics take a k"
    units = sample.units
    if not sample.known.any():
        raise BenchError(f"No target of {sample.name} is in the catalog.")
    score = _score(metric, sample)
    sum_seed = _count_items if metric.score_counts else _sum_masses
    return UnitSums(
        amounts=tuple(sum_seed(sample, seed, metric.k) for seed in range(len(sample.seeds))),
        sizes=np.bincount(units.of_case, weights=sample.known).astype(np.float64),
        histories=_sum_rows(sample.histories, units.of_case, units.num).T,
        score=score,
    )


def _count_items(sample: Sample, seed: int, k: int) -> sparse.csr_array:
    """Count items by unit; only items in some list get a row, since X decides the cost."""
    known = sample.known
    top = sample.items[seed, known, :k]
    short = np.flatnonzero((top == LIST_ENDS).any(axis=1))
    if top.shape[1] < k or len(short):
        case = sample.cases[np.flatnonzero(known)[short[0] if len(short) else 0]]
        raise BenchError(
            f"The list of {sample.name} for case {case} is shorter than k={k}.",
            f"Diversity is compared at equal list lengths: record at least {k} items per case.",
        )
    columns = np.repeat(sample.units.of_case[known], k)[(top >= 0).ravel()]
    distinct, rows = np.unique(top[top >= 0], return_inverse=True)
    return sparse.csr_array(
        (np.ones(len(rows), dtype=np.int32), (rows, columns)),
        shape=(len(distinct), sample.units.num),
    )


def _sum_masses(sample: Sample, seed: int, k: int) -> sparse.csr_array:
    if k not in sample.masses:
        available = [f"@{length}" for length in sample.masses]
        raise unknown(f"category mass of {sample.name}", f"@{k}", available)
    mass = sample.masses[k]
    require_finite(sample, f"The category mass @{k}", mass)
    by_unit = _sum_rows(mass[seed] * sample.known[:, None], sample.units.of_case, sample.units.num)
    return sparse.csr_array(by_unit.T)


def _sum_rows(
    rows: NDArray[np.float64], of_case: NDArray[np.intp], num_units: int
) -> NDArray[np.float64]:
    sums = np.zeros((num_units, rows.shape[1]))
    np.add.at(sums, of_case, rows)
    return sums


def _score(metric: Metric, sample: Sample) -> Score:
    k, num_items = metric.k or 1, sample.num_items
    score_counts, score_masses = metric.score_counts, metric.score_masses
    if score_counts:
        return lambda counts, num_lists, _: score_counts(
            ItemCounts(counts=counts, num_lists=num_lists, k=k, num_items=num_items)
        )
    assert score_masses is not None, f"{metric.name} is not a set-level metric"
    if not sample.tracked:
        raise BenchError(f"{metric.name} needs categories, but the catalog tracks none.")
    if metric.category and metric.category not in sample.tracked:
        raise unknown("tracked category", metric.category, sample.tracked)
    index = sample.tracked.index(metric.category) if metric.category else 0
    return lambda masses, _, histories: score_masses(
        CategoryMass(recommended=masses, history=histories, index=index)
    )
