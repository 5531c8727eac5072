"""Power: the smallest difference that a comparison of this size would detect in 80 % of cases.

With standard error e of a difference, a two-sided test at .05 detects (t_.975 + t_.8) e with 80 %
power, t of U - 1 degrees of freedom for U units (Cohen 1988, chapter 2; the t quantile in place of
the non-central t is off by less than 1 % from 20 units on). For means over cases e is that of the
paired t-test; for set-level metrics it is read off the interval. In simulations (200 users, one
Zipf item each) the label swap had 77 % power at that difference for ORRatio; for DivRatio, whose
jackknife is wide, it had 80 % at a difference a quarter smaller. No correction for a family is
taken into account: after Holm in a family of m the smallest detectable difference is larger.

More seeds do not make more cases. They only average out what training adds to each case: with
v(S) the variance of a unit's difference over S seeds, v(S) = between units + within / S.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.errors import BenchError
from bench.metrics.names import Metric, parse
from bench.stats.intervals import BY_JACKKNIFE, interval
from bench.stats.randomization import ROUNDING
from bench.stats.samples import Sample, Units, align, align_lists, per_case
from bench.stats.set_metrics import tallies

POWER = 0.8
ALPHA = 0.05
Basis = Literal["paired t", "jackknife", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """What one comparison could see.

    Attributes:
        metric: Its name.
        reference: Name of the reference.
        other: Name of the method compared with it.
        num_cases: Test cases it is computed for; for set-level metrics those with known targets.
        num_units: Units among them, cases or users, as a real number where cases are asked for.
        unit: "user" where cases are nested in users.
        num_seeds: Seeds that each method is averaged over; None where the two differ and no number
            was asked for.
        error: Standard error of the difference.
        difference: The smallest one detectable with 80 % power, in the metric's unit; None where
            the differences at hand do not vary.
        relative: The same over the reference's value; None if that is 0.
        basis: Where the standard error comes from.
        approximations: What is approximate about it, in words.
    """

    metric: str
    reference: str
    other: str
    num_cases: int
    num_units: float
    unit: Literal["case", "user"]
    num_seeds: int | None
    error: float
    difference: float | None
    relative: float | None
    basis: Basis
    approximations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """How much a difference varies at the seeds that were asked for.

    Attributes:
        variance: Of one unit's difference; over U units the squared standard error is a U-th of it.
        value: The reference's, which a relative difference is of.
        units: At hand.
        num_cases: At hand.
        num_seeds: Asked for, or at hand where both methods have as many.
        other_seeds: Whether that is another number than was run.
        basis: Where the variance comes from.
    """

    variance: float
    value: float
    units: Units
    num_cases: int
    num_seeds: int | None
    other_seeds: bool
    basis: Basis


def detectable(
    reference: Sample,
    other: Sample,
    metric: str,
    *,
    num_cases: int | None = None,
    num_seeds: int | None = None,
    seed: int = 0,
) -> Detectable:
    """Compute the smallest difference that would be detected with 80 % power.

    Args:
        reference: The declared reference.
        other: The method compared with it.
        metric: A per-case or a set-level metric.
        num_cases: What if there were so many test cases, from 2; those at hand if None.
        num_seeds: What if both were averaged over so many seeds; those at hand if None.
        seed: Of the draws behind the interval of a set-level metric.

    Raises:
        BenchError: If the two cannot be compared, have a single unit, or another number of seeds is
            asked for where a single one was run: what seeds add cannot be told from it.
    """
    parsed = parse(metric)
    measure = _spread_of_means if parsed.per_case else _spread_of_sets
    spread = measure(reference, other, parsed, num_seeds, seed)
    asked = spread.num_cases if num_cases is None else num_cases
    num_units = _units_of(spread, asked)
    error = float(np.sqrt(spread.variance / num_units))
    difference = _quantiles(parsed, num_units) * error if error > ROUNDING else None
    return Detectable(
        metric=parsed.name,
        reference=reference.name,
        other=other.name,
        num_cases=asked,
        num_units=num_units,
        unit=spread.units.kind,
        num_seeds=spread.num_seeds,
        error=error,
        difference=difference,
        relative=difference / spread.value if difference is not None and spread.value else None,
        basis=spread.basis,
        approximations=tuple(_approximations(parsed, spread, asked)),
    )


def _units_of(spread: _Spread, num_cases: int) -> float:
    if num_cases < 2:
        raise BenchError("Power is computed for two test cases or more.")
    num_units = spread.units.num * num_cases / spread.num_cases
    if num_units < 2:
        raise BenchError(
            f"{num_cases} cases are those of {num_units:.2g} users here, and users are the unit.",
            "Ask for more cases.",
        )
    return num_units


def _quantiles(metric: Metric, num_units: float) -> float:
    """Sum the quantiles of the test and of the power; a set-level interval is a normal one."""
    law = stats.t(num_units - 1) if metric.per_case else stats.norm()
    return float(law.ppf(1 - ALPHA / 2) + law.ppf(POWER))


def _spread_of_means(
    reference: Sample, other: Sample, metric: Metric, num_seeds: int | None, seed: int
) -> _Spread:
    del seed  # nothing is drawn; the signature is that of `_spread_of_sets`
    reference, other = align(reference, other)
    units = _enough(reference.units(), reference, other)
    mine, theirs = (_by_unit(per_case(one, metric.name), units) for one in (reference, other))
    change = theirs.mean(axis=0) - mine.mean(axis=0)
    variance = float(np.square(change).sum() / (units.num - 1))
    if num_seeds is not None:
        for method, values in ((reference, mine), (other, theirs)):
            variance += _within(method, values, num_seeds) * (1 / num_seeds - 1 / len(values))
    counts = {len(reference.seeds), len(other.seeds)}
    return _Spread(
        variance=max(variance, 0.0),
        value=float(per_case(reference, metric.name).mean()),
        units=units,
        num_cases=len(reference.cases),
        num_seeds=num_seeds or (min(counts) if len(counts) == 1 else None),
        other_seeds=num_seeds is not None and counts != {num_seeds},
        basis="paired t",
    )


def _by_unit(values: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Sum residuals within units, per mean size: the linearized mean over cases, (S, U)."""
    rest = values - values.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(units.of_case, weights=one, minlength=units.num) for one in rest])
    return np.asarray(sums * (units.num / len(units.of_case)))


def _within(method: Sample, values: NDArray[np.float64], asked: int) -> float:
    """Variance of a unit's value between seeds, what all units of a seed share taken out."""
    num_seeds, num_units = values.shape
    if num_seeds == 1:
        if asked != 1:
            raise _one_seed(method.name)
        return 0.0
    rest = values - values.mean(axis=0)
    return float(np.square(rest).sum() / ((num_seeds - 1) * (num_units - 1)))


def _spread_of_sets(
    reference: Sample, other: Sample, metric: Metric, num_seeds: int | None, seed: int
) -> _Spread:
    reference, other = align_lists(reference, other)
    units = _enough(reference.units(), reference, other)
    at_hand = len(reference.seeds)
    variance = _interval_variance(reference, other, metric, units, seed)
    if num_seeds is not None and num_seeds != at_hand:
        if at_hand == 1:
            raise _one_seed(f"{reference.name} and {other.name} in common")
        alone = np.mean(
            [
                _interval_variance(
                    reference.take_seeds([one]), other.take_seeds([one]), metric, units, seed
                )
                for one in reference.seeds
            ]
        )
        within = max(0.0, float(alone - variance) / (1 - 1 / at_hand))
        variance = max(0.0, variance - within / at_hand) + within / num_seeds
    (base,) = tallies([reference], metric, units)
    return _Spread(
        variance=variance * units.num,
        value=float(base.mean(units.each_once())[0]),
        units=units,
        num_cases=len(reference.cases),
        num_seeds=num_seeds or at_hand,
        other_seeds=num_seeds not in (None, at_hand),
        basis="jackknife" if metric.family in BY_JACKKNIFE else "bootstrap",
    )


def _interval_variance(
    reference: Sample, other: Sample, metric: Metric, units: Units, seed: int
) -> float:
    low, high = interval(metric, *tallies([reference, other], metric, units), seed=seed)
    assert low is not None
    assert high is not None
    return float(((high - low) / (2 * stats.norm.ppf(1 - ALPHA / 2))) ** 2)


def _enough(units: Units, reference: Sample, other: Sample) -> Units:
    if units.num < 2:
        raise BenchError(
            f"{reference.name} and {other.name} share a single {units.kind}: nothing varies in it.",
            "Power needs results over two or more.",
        )
    return units


def _one_seed(whose: str) -> BenchError:
    return BenchError(
        f"There is a single seed of {whose}, so what more seeds would average out is unknown.",
        "Leave --seeds out, or run two seeds or more.",
    )


def _approximations(metric: Metric, spread: _Spread, num_cases: int) -> Iterator[str]:
    if not metric.per_case:
        yield (
            f"the standard error of a set-level metric is the width of its {spread.basis} interval "
            "over 3.92, taken as normal, and stands in for that of the label-swap test."
        )
        if metric.family in BY_JACKKNIFE:
            yield (
                "the jackknife is cautious: in simulations the label swap detected differences a "
                "quarter smaller than this with 80 % power."
            )
    if num_cases != spread.num_cases:
        yield (
            "other cases are taken to vary as those at hand do, and the standard error to change "
            "with the root of their number."
        )
        if metric.family in BY_JACKKNIFE:
            yield "the value itself depends on the number of cases, so this is a rough guess."
    if spread.other_seeds:
        yield (
            "what other seeds would change is estimated from the few at hand; what a seed does to "
            "all cases alike is left out, for no number of cases averages it."
        )
