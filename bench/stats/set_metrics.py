"""Set-level metrics as functions of sums over units, which is what makes them quick to resample.

DivRatio, ORRatio, Coverage and Gini are functions of how often each item is shown; MGU, DGU and GU
of how much mass each category gets. Both are sums over the lists, hence over units: swapping lists,
drawing units again and leaving units out all weigh the columns of one matrix with X rows (items or
categories) and U columns (units), and thousands of weightings are a single matrix product.

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
from bench.metrics.diversity import OVERRECOMMENDED, coverage, div_ratio, gini, or_ratio
from bench.metrics.fairness import dgu, group_unfairness, mgu
from bench.metrics.names import Metric
from bench.stats.samples import Sample, Units, require_finite

# Counts (int32) or masses (float64).
Sums = NDArray[Any]
# From sums (R, X) and numbers of lists (R,) to values (R,).
Score = Callable[[Sums, NDArray[np.float64]], NDArray[np.float64]]

OF_COUNTS = frozenset({"DivRatio", "ORRatio", "Coverage", "Gini"})
BATCH_ELEMENTS = 1 << 21
NUM_BLOCKS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """One method's lists, summed within units.

    Attributes:
        amounts: One matrix per seed, shape (X, U): how often each item is shown (int32), or how
            much mass each category gets (float64). X may differ from seed to seed.
        sizes: Number of lists of each unit, shape (U,).
        score: The metric.
    """

    amounts: tuple[sparse.csr_array, ...]
    sizes: NDArray[np.intp]
    score: Score

    @property
    def batch(self) -> int:
        """How many weightings to evaluate at once, so that the sums stay within some megabytes."""
        widest = max(len(self.sizes), *(amounts.shape[0] for amounts in self.amounts))
        return max(1, BATCH_ELEMENTS // widest)

    def per_seed(self, weights: NDArray[np.integer | np.bool_]) -> NDArray[np.float64]:
        """Evaluate the metric once per seed and weighting.

        Args:
            weights: How often each unit counts, shape (U, R), the same for all seeds.

        Returns:
            Shape (S, R).
        """
        num_lists = (self.sizes @ weights).astype(np.float64)
        # scipy's product is several times slower on another layout or with another type.
        factor = np.ascontiguousarray(weights, dtype=self.amounts[0].dtype)
        return np.stack([self.score((each @ factor).T, num_lists) for each in self.amounts])

    def mean(self, weights: NDArray[np.integer | np.bool_]) -> NDArray[np.float64]:
        """Average `per_seed` over the seeds, shape (R,)."""
        return np.asarray(self.per_seed(weights).mean(axis=0))


def tallies(samples: Sequence[Sample], metric: Metric, units: Units) -> tuple[Tally, ...]:
    """Sum up the lists of methods that are compared on a set-level metric.

    Args:
        samples: Methods on the same cases with the same number of seeds, unknown targets left out.
        metric: A set-level metric.
        units: Of these cases.

    Returns:
        One tally per method, over the same items or categories.

    Raises:
        BenchError: If a list is shorter than k, or the category masses at k were not kept.
    """
    assert not metric.per_case
    assert metric.k is not None
    if metric.family in OF_COUNTS:
        of_seeds = [_item_counts(samples, seed, metric.k, units) for seed in _seeds(samples)]
    else:
        of_seeds = [_category_masses(samples, seed, metric.k, units) for seed in _seeds(samples)]
    return tuple(
        Tally(amounts=amounts, sizes=units.sizes, score=_score(metric, samples[0]))
        for amounts in zip(*of_seeds, strict=True)
    )


def _seeds(samples: Sequence[Sample]) -> range:
    return range(len(samples[0].seeds))


def _item_counts(
    samples: Sequence[Sample], seed: int, k: int, units: Units
) -> list[sparse.csr_array]:
    """Count items by unit; only items that some list shows get a row, for X rules the cost."""
    lists = [_top(sample, seed, k) for sample in samples]
    shown, rows = np.unique(np.stack(lists), return_inverse=True)
    num_strange = int(np.searchsorted(shown, 0))
    columns = np.repeat(units.of_case, k)
    counts = []
    for places in rows.reshape(len(lists), -1):
        real = places >= num_strange
        entries = (places[real] - num_strange, columns[real])
        counts.append(
            sparse.csr_array(
                (np.ones(len(entries[0]), dtype=np.int32), entries),
                shape=(len(shown) - num_strange, units.num),
            )
        )
    return counts


def _top(sample: Sample, seed: int, k: int) -> NDArray[np.int32]:
    top = sample.items[seed, :, :k]
    short = np.flatnonzero((top == LIST_ENDS).any(axis=1))
    if top.shape[1] < k or len(short):
        case = sample.cases[short[0] if len(short) else 0]
        raise BenchError(
            f"The list of {sample.name} for case {case} is shorter than k={k}.",
            f"Diversity is compared at equal list lengths: keep at least {k} items a case.",
        )
    return top


def _category_masses(
    samples: Sequence[Sample], seed: int, k: int, units: Units
) -> list[sparse.csr_array]:
    masses = []
    for sample in samples:
        if k not in sample.masses:
            raise unknown(
                f"category mass of {sample.name}", f"@{k}", [f"@{kept}" for kept in sample.masses]
            )
        mass = sample.masses[k]
        require_finite(sample, f"The category mass @{k}", mass)
        of_units = np.zeros((units.num, mass.shape[2]))
        np.add.at(of_units, units.of_case, mass[seed])
        masses.append(sparse.csr_array(of_units.T))
    return masses


def _score(metric: Metric, sample: Sample) -> Score:
    k, num_items, history = metric.k, sample.num_items, sample.history_mass
    assert k is not None
    match metric.family:
        case "DivRatio":
            # Resampled users differ in their number of lists, so the slots are no single number.
            return lambda counts, num_lists: div_ratio(counts, 1) / (k * num_lists)
        case "ORRatio":
            return lambda counts, num_lists: or_ratio(_contenders(counts), 1) / (k * num_lists)
        case "Coverage":
            return lambda counts, _: coverage(counts, num_items)
        case "Gini":
            return lambda counts, _: gini(counts, num_items)
    if not sample.tracked:
        raise BenchError(f"{metric.name} needs categories, and the catalog tracks none.")
    match metric.family:
        case "MGU":
            return lambda masses, _: mgu(masses, history)
        case "DGU":
            return lambda masses, _: dgu(masses, history)
        case "GU":
            if metric.category not in sample.tracked:
                raise unknown("tracked category", str(metric.category), sample.tracked)
            place = sample.tracked.index(metric.category)
            return lambda masses, _: group_unfairness(masses, history)[..., place]
        case family:
            raise AssertionError(f"{family} is no set-level metric")


def _contenders(counts: Sums) -> Sums:
    """Keep what can be among the most shown items; exact, and some 20 times as quick as all.

    The largest counts of blocks of items bound the largest counts of all items from below, resample
    by resample. Where fewer items exceed that floor than are summed, the others equal it.
    """
    by_item = counts.T
    num_items, num_resamples = by_item.shape
    if num_items < 2 * NUM_BLOCKS:
        return counts
    whole = by_item[: num_items // NUM_BLOCKS * NUM_BLOCKS]
    peaks = whole.reshape(-1, NUM_BLOCKS, num_resamples).max(axis=0)
    floor = np.sort(peaks, axis=0)[-OVERRECOMMENDED]
    above = by_item[(by_item > floor).any(axis=1)]
    return np.vstack([above, np.tile(floor, (OVERRECOMMENDED, 1))]).T
