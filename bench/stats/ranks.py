"""Methods across data sets: mean ranks, wins, and a test only where there are enough data sets.

Follows Demšar (JMLR 2006): ranks within each data set, ties sharing their mean, Friedman's test
over data sets, Nemenyi's critical difference after it. What ranks say depends on who else is in
the table (Benavoli, Corani & Mangili, JMLR 2016), and with few data sets hardly any difference can
reach the critical one: for 8 methods on 4 data sets it is 5.25 of at most 7 ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.errors import BenchError
from bench.metrics.names import parse

MIN_DATASETS = 6
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One method across data sets.

    Attributes:
        name: The method's row.
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
class Across:
    """A metric's verdict across data sets.

    Attributes:
        metric: Its name.
        num_datasets: How many data sets all methods have a value on.
        standings: The methods, best mean rank first, equal ones by name.
        friedman_p: p of Friedman's test; None where it is not made.
        critical_difference: Nemenyi's, in ranks; None where Friedman's test is not made.
        reason: Why there is no test; empty where there is one.
    """

    metric: str
    num_datasets: int
    standings: tuple[Standing, ...]
    friedman_p: float | None
    critical_difference: float | None
    reason: str = ""


def across(metric: str, values: Mapping[str, Mapping[str, float]]) -> Across:
    """Rank methods across data sets.

    Args:
        metric: Name of the metric; its direction decides which value is better.
        values: Value by method and data set. Data sets where a method has none are left out.

    Raises:
        BenchError: Where fewer than two methods, or no data set at all, can be ranked.
    """
    names = list(values)
    shared = set.intersection(*(set(one) for one in values.values())) if values else set()
    if len(names) < 2 or not shared:
        raise BenchError(
            f"Nothing can be ranked by {metric}.", "Two methods with a value on one data set do."
        )
    sign = -1 if parse(metric).higher_is_better else 1
    table = np.array([[sign * values[name][data] for name in names] for data in sorted(shared)])
    ranks = stats.rankdata(table, axis=1)
    best = table == table.min(axis=1, keepdims=True)
    alone = best.sum(axis=1, keepdims=True) == 1
    standings = [
        Standing(
            name=name,
            mean_rank=float(ranks[:, place].mean()),
            wins=int((best & alone)[:, place].sum()),
            ties=int((best & ~alone)[:, place].sum()),
            losses=int((~best)[:, place].sum()),
        )
        for place, name in enumerate(names)
    ]
    reason = _why_not(len(names), len(shared))
    return Across(
        metric=metric,
        num_datasets=len(shared),
        standings=tuple(sorted(standings, key=lambda one: (one.mean_rank, one.name))),
        friedman_p=None if reason else _friedman(table),
        critical_difference=None if reason else critical_difference(len(names), len(shared)),
        reason=reason,
    )


def critical_difference(num_methods: int, num_datasets: int, *, alpha: float = ALPHA) -> float:
    """Return Nemenyi's critical difference of two mean ranks.

    Example:
        >>> round(critical_difference(8, 4), 2)
        5.25
    """
    quantile = stats.studentized_range.ppf(1 - alpha, num_methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(num_methods * (num_methods + 1) / (6 * num_datasets)))


def _why_not(num_methods: int, num_datasets: int) -> str:
    if num_methods < 3:
        return "two methods are no case for Friedman's test"
    if num_datasets < MIN_DATASETS:
        return (
            f"{num_datasets} data sets are too few for a test of mean ranks: the critical "
            f"difference would be {critical_difference(num_methods, num_datasets):.2f} of at most "
            f"{num_methods - 1} ranks; {MIN_DATASETS} or more are asked"
        )
    return ""


def _friedman(table: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    if (table == table[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*table.T).pvalue)


def sentence(found: Across) -> str:
    """Say a verdict in one sentence."""
    ranks = ", ".join(
        f"{one.name} {one.mean_rank:.2f} ({one.wins}/{one.ties}/{one.losses})"
        for one in found.standings
    )
    if found.reason:
        verdict = f"not tested: {found.reason}"
    else:
        assert found.critical_difference is not None
        verdict = (
            f"Friedman p = {found.friedman_p:.3f}, Nemenyi's critical difference "
            f"{found.critical_difference:.2f}"
        )
    return f"{found.metric} over {found.num_datasets} data sets: {ranks}; {verdict}."
