"""Predicates of the claim types on plain numbers, without any test.

Numbers are in the metric's unit; `higher` says whether a larger value is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.report.published import Number

# Printed decimals are not exact in binary: .11 - .10 must still be within 10 % of .10.
ROUNDING = 1e-9


def is_better(a: float, b: float, *, higher: bool) -> bool:
    """Return whether a is strictly better than b."""
    return a > b if higher else a < b


def relative_change(a: float, b: float) -> float:
    """Compute the relative change from b to a; 0 for equal numbers, infinite if only b is 0."""
    if a == b:
        return 0.0
    return (a - b) / abs(b) if b else float(np.copysign(np.inf, a - b))


def is_not_better(a: float, b: float, *, higher: bool, tau: float = 0.0) -> bool:
    """Return whether a improves on b by at most the fraction tau."""
    change = relative_change(a, b)
    return (change if higher else -change) <= tau + ROUNDING


def is_close(a: float, b: float, *, tau: float) -> bool:
    """Return whether the relative difference lies within ± tau."""
    return abs(relative_change(a, b)) <= tau + ROUNDING


def best_rank(value: float, others: Sequence[float], *, higher: bool) -> int:
    """Compute the rank of a value, from 1; equal values share the better rank."""
    return 1 + sum(is_better(other, value, higher=higher) for other in others)


def worst_rank(value: float, others: Sequence[float], *, higher: bool) -> int:
    """Compute the rank of a value, from 1; equal values share the worse rank."""
    return 1 + len(others) - sum(is_better(value, other, higher=higher) for other in others)


def gain_range(a: Number, b: Number) -> tuple[float, float]:
    """Compute the smallest and the largest gain in percent that rounded numbers allow, b > 0."""
    low = (a.value - a.half_unit) / (b.value + b.half_unit)
    high = (a.value + a.half_unit) / (b.value - b.half_unit)
    return 100 * (low - 1), 100 * (high - 1)


def is_consistent(published: Number, low: float, high: float) -> bool:
    """Return whether a published number, before rounding, can lie between low and high."""
    margin = published.half_unit + ROUNDING
    return low - margin <= published.value <= high + margin


def rank_correlation(xs: Sequence[float], values: Sequence[float]) -> float:
    """Compute Spearman's ρ in [-1, 1]; 0 if the values do not vary."""
    from scipy.stats import rankdata  # only needed for our results

    ranks = [rankdata(xs), rankdata(values)]
    if any(len(set(column)) == 1 for column in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def peaks_at(values: Mapping[float, float], at: float, *, higher: bool) -> bool:
    """Return whether no x has a better value than `at`."""
    return not any(is_better(value, values[at], higher=higher) for value in values.values())
