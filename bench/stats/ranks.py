"""Methods across data sets: mean ranks, wins, and a test if there are enough data sets.

Follows Demšar (JMLR 2006): ranks within each data set, ties with their mean rank, Friedman's test
over data sets, then Nemenyi's critical difference. Ranks depend on which other methods are in the
table (Benavoli, Corani & Mangili, JMLR 2016), and with few data sets hardly any difference can
reach the critical one: for 8 methods on 4 data sets it is 5.25 of at most 7 ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.stats.corrections import ALPHA

MIN_DATASETS = 6


@dataclass(frozen=True, kw_only=True)
class MethodRank:
    """One method across data sets.

    Attributes:
        mean_rank: Mean over data sets of its rank, 1 for the best.
        wins: Data sets where it is the only best.
        ties: Data sets where it shares the best value.
        losses: Data sets where another one is better.
    """

    name: str
    mean_rank: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, kw_only=True)
class DatasetRanking:
    """All methods across data sets, on one metric.

    Attributes:
        num_datasets: Number of data sets on which all methods have a value.
        methods: The methods, best mean rank first, equal ones by name.
        critical_difference: Nemenyi's, in ranks; None if there is no test.
        reason: Why there is no test; empty if there is one.
    """

    metric: str
    num_datasets: int
    methods: tuple[MethodRank, ...]
    friedman_p: float | None
    critical_difference: float | None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The ranks and the test in one sentence."""
        ranks = ", ".join(
            f"{method.name} {method.mean_rank:.2f} ({method.wins}/{method.ties}/{method.losses})"
            for method in self.methods
        )
        result = f"not tested: {self.reason}"
        if not self.reason:
            result = (
                f"Friedman p = {self.friedman_p:.3f}, Nemenyi's critical difference "
                f"{self.critical_difference:.2f}"
            )
        return f"{self.metric} over {self.num_datasets} data sets: {ranks}; {result}."


def rank_across_datasets(metric: str, values: Mapping[str, Mapping[str, float]]) -> DatasetRanking:
    """Rank methods across data sets, from the value by method and data set.

    Data sets where a method has no value are left out.

    Raises:
        BenchError: If fewer than two methods, or no data set, can be ranked.
    """
    names = list(values)
    shared = set.intersection(*map(set, values.values())) if values else set()
    if len(names) < 2 or not shared:
        message = f"Nothing can be ranked by {metric}."
        raise BenchError(message, "Ranks need two methods with values on the same data set.")
    sign = -1 if get_metric(metric).higher_is_better else 1
    table = np.array([[sign * values[name][data] for name in names] for data in sorted(shared)])
    ranks = stats.rankdata(table, axis=1)
    best = table == table.min(axis=1, keepdims=True)
    only_best = best & (best.sum(axis=1, keepdims=True) == 1)
    methods = [
        MethodRank(
            name=name,
            mean_rank=float(ranks[:, index].mean()),
            wins=int(only_best[:, index].sum()),
            ties=int((best & ~only_best)[:, index].sum()),
            losses=int((~best)[:, index].sum()),
        )
        for index, name in enumerate(names)
    ]
    reason = _explain_no_test(len(names), len(shared))
    return DatasetRanking(
        metric=metric,
        num_datasets=len(shared),
        methods=tuple(sorted(methods, key=lambda method: (method.mean_rank, method.name))),
        friedman_p=None if reason else _friedman_p(table),
        critical_difference=None if reason else critical_difference(len(names), len(shared)),
        reason=reason,
    )


def critical_difference(num_methods: int, num_datasets: int, *, alpha: float = ALPHA) -> float:
    """Compute Nemenyi's critical difference of two mean ranks.

    Example:
        >>> round(critical_difference(8, 4), 2)
        5.25
    """
    quantile = stats.studentized_range.ppf(1 - alpha, num_methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(num_methods * (num_methods + 1) / (6 * num_datasets)))


def _explain_no_test(num_methods: int, num_datasets: int) -> str:
    if num_methods < 3:
        return "Friedman's test needs three methods"
    if num_datasets < MIN_DATASETS:
        return (
            f"{num_datasets} data sets are too few for a test of mean ranks: the critical "
            f"difference would be {critical_difference(num_methods, num_datasets):.2f} of at most "
            f"{num_methods - 1} ranks; {MIN_DATASETS} or more are needed"
        )
    return ""


def _friedman_p(table: NDArray[np.float64]) -> float:
    if (table == table[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*table.T).pvalue)
