"""The arithmetic of the forms on plain numbers: what holds of point values, without any test.

Numbers are in the metric's unit; `higher` says whether more of it is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.report.published import Number

# Printed decimals are not exact in binary: .11 - .10 must still be within 10 % of .10.
ROUNDING = 1e-9


def better(a: float, b: float, *, higher: bool) -> bool:
    """Whether a is strictly better than b."""
    return a > b if higher else a < b


def change(a: float, b: float) -> float:
    """The relative change of a over b; 0 for equal numbers, infinite where only b is 0."""
    if a == b:
        return 0.0
    return (a - b) / abs(b) if b else float(np.copysign(np.inf, a - b))


def not_better(a: float, b: float, *, higher: bool, tau: float = 0.0) -> bool:
    """Whether a improves on b by at most the share tau."""
    return (change(a, b) if higher else -change(a, b)) <= tau + ROUNDING


def close(a: float, b: float, *, tau: float) -> bool:
    """Whether the relative difference lies within ± tau."""
    return abs(change(a, b)) <= tau + ROUNDING


def rank(value: float, others: Sequence[float], *, higher: bool) -> int:
    """The place from 1 of a value; equal values share the better place."""
    return 1 + sum(better(other, value, higher=higher) for other in others)


def last_rank(value: float, others: Sequence[float], *, higher: bool) -> int:
    """The place from 1 of a value; equal values share the worse place."""
    return 1 + len(others) - sum(better(value, other, higher=higher) for other in others)


def gain(a: Number, b: Number) -> tuple[float, float]:
    """The smallest and the largest change in percent that rounded numbers allow, b above 0."""
    low = (a.value - a.half_unit) / (b.value + b.half_unit)
    high = (a.value + a.half_unit) / (b.value - b.half_unit)
    return 100 * (low - 1), 100 * (high - 1)


def agrees(printed: Number, low: float, high: float) -> bool:
    """Whether a printed number, unrounded, can lie between low and high."""
    reach = printed.half_unit + ROUNDING
    return low - reach <= printed.value <= high + reach


def larger(first: float, second: float, *, higher: bool) -> bool:
    """Whether one difference exceeds another, both counted in the better direction."""
    return better(first, second, higher=higher)


def spearman(xs: Sequence[float], values: Sequence[float]) -> float:
    """The rank correlation ρ in [-1, 1]; 0 where the values do not vary."""
    from scipy.stats import rankdata  # only verdicts on runs need it

    ranks: list[NDArray[np.float64]] = [rankdata(xs), rankdata(values)]
    if any(len(set(one)) == 1 for one in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def peaks_at(values: Mapping[float, float], at: float, *, higher: bool) -> bool:
    """Whether no other x has a better value than `at`."""
    return not any(better(value, values[at], higher=higher) for value in values.values())
