"""Power: the smallest difference that a comparison of this size detects with probability 80 %.

With standard error e of a difference, a two-sided test at .05 detects (t_.975 + t_.8) e with 80 %
power, t of U - 1 degrees of freedom for U units (Cohen 1988, chapter 2; the t quantile instead of
the non-central t is off by less than 1 % from 20 units on). For means over cases e is that of the
paired t-test; for set-level metrics it is derived from the interval. In simulations (200 users, one
Zipf item each) the label swap had 77 % power at that difference for ORRatio; for DivRatio, whose
jackknife interval is wide, it had 80 % at a difference a quarter smaller. No correction for a
family is taken into account: after Holm in a family of m the smallest detectable difference is
larger.

More seeds do not make more cases. They only average out what training adds to each case: with
v(S) the variance of a unit's difference over S seeds, v(S) = between units + within / S.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.errors import BenchError
from bench.metrics.metric import IntervalMethod, Metric
from bench.stats.contrasts import DIFFERENCE, AlignedSamples
from bench.stats.corrections import ALPHA
from bench.stats.randomization import ROUNDING
from bench.stats.samples import Sample, get_case_values

POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class DetectableDifference:
    """The smallest difference that one comparison detects.

    Attributes:
        metric: Its name.
        reference: Name of the reference.
        other: Name of the method compared with it.
        num_cases: Test cases it is computed for; for set-level metrics those with known targets.
        num_units: Units among them, cases or users; fractional for a hypothetical number of cases.
        unit: "user" where cases are nested in users.
        num_seeds: Seeds that each method is averaged over; None if the two differ and no number
            was given.
        error: Standard error of the difference.
        difference: The smallest one detectable with 80 % power, in the metric's unit; None if
            the available differences do not vary.
        relative: The same over the reference's value; None if that is 0.
        basis: Origin of the standard error.
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
    basis: IntervalMethod
    approximations: tuple[str, ...]


def detectable_difference(
    reference: Sample,
    other: Sample,
    metric: str,
    *,
    num_cases: int | None = None,
    num_seeds: int | None = None,
    seed: int = 0,
) -> DetectableDifference:
    """Compute the smallest difference that is detected with 80 % power.

    Args:
        reference: The declared reference.
        other: The method compared with it.
        metric: A per-case or a set-level metric.
        num_cases: A hypothetical number of test cases, from 2; those of the results if None.
        num_seeds: A hypothetical number of seeds of both methods; those of the results if None.
        seed: Of the interval of a set-level metric.

    Raises:
        BenchError: If the two cannot be compared or have a single unit, or another number of seeds
            is requested where a single one was run, so that the variance of seeds is unknown.
    """
    aligned = AlignedSamples.align([reference, other], metric)
    family, units, cases_run = aligned.metric, aligned.units, len(aligned.samples[0].cases)
    if units.num < 2:
        raise BenchError(
            f"{reference.name} and {other.name} share a single {units.kind}: nothing varies in it.",
            "Power needs results over two or more.",
        )
    num_cases = cases_run if num_cases is None else num_cases
    num_units = _scale_units(units.num, cases_run, num_cases)
    seeds_run = {len(sample.seeds) for sample in aligned.samples}
    estimate_variance = _mean_variance if family.per_case else _set_variance
    error = float(np.sqrt(estimate_variance(aligned, num_seeds, seed) / num_units))
    # The quantiles of the test and of the power; a set-level interval is a normal one.
    distribution = stats.t(num_units - 1) if family.per_case else stats.norm()
    quantiles = float(distribution.ppf(1 - ALPHA / 2) + distribution.ppf(POWER))
    difference = quantiles * error if error > ROUNDING else None
    value = aligned.means[0]
    approximations = _list_approximations(
        family,
        other_cases=num_cases != cases_run,
        other_seeds=num_seeds is not None and seeds_run != {num_seeds},
    )
    return DetectableDifference(
        metric=metric,
        reference=reference.name,
        other=other.name,
        num_cases=num_cases,
        num_units=num_units,
        unit=units.kind,
        num_seeds=num_seeds or (min(seeds_run) if len(seeds_run) == 1 else None),
        error=error,
        difference=difference,
        relative=difference / value if difference is not None and value else None,
        basis=family.interval,
        approximations=tuple(approximations),
    )


def _scale_units(units_run: int, cases_run: int, num_cases: int) -> float:
    if num_cases < 2:
        raise BenchError("Power needs at least two test cases.")
    num_units = units_run * num_cases / cases_run
    if num_units < 2:
        raise BenchError(
            f"{num_cases} cases are those of {num_units:.2g} users here, and users are the unit.",
            "Give a larger number of cases.",
        )
    return num_units


def _mean_variance(aligned: AlignedSamples, num_seeds: int | None, seed: int) -> float:
    """Compute the variance of one unit's difference in a mean over cases."""
    del seed  # no random numbers; the signature is that of `_set_variance`
    units = aligned.units
    residuals = []  # summed within units, per mean size: the linearized mean over cases, (S, U)
    for sample in aligned.samples:
        values = get_case_values(sample, aligned.metric.name)
        centered = values - values.mean(axis=1, keepdims=True)
        sums = [np.bincount(units.of_case, weights=row) for row in centered]
        residuals.append(np.stack(sums).astype(np.float64) * (units.num / len(units.of_case)))
    change = residuals[1].mean(axis=0) - residuals[0].mean(axis=0)
    variance = float(np.square(change).sum() / (units.num - 1))
    if num_seeds is not None:
        for sample, values in zip(aligned.samples, residuals, strict=True):
            within = _seed_variance(sample, values, num_seeds)
            variance += within * (1 / num_seeds - 1 / len(values))
    return max(variance, 0.0)


def _seed_variance(sample: Sample, values: NDArray[np.float64], num_seeds: int) -> float:
    """Compute the variance of a unit's value between seeds, without what all units share."""
    if len(values) == 1:
        if num_seeds != 1:
            raise _single_seed(sample.name)
        return 0.0
    residuals = values - values.mean(axis=0)
    degrees = (values.shape[0] - 1) * (values.shape[1] - 1)
    return float(np.square(residuals).sum() / degrees)


def _set_variance(aligned: AlignedSamples, num_seeds: int | None, seed: int) -> float:
    """Compute the variance of one unit's difference in a set-level metric, from the interval."""
    seeds = aligned.samples[0].seeds
    variance = _interval_variance(aligned, seeds, seed)
    if num_seeds is not None and num_seeds != len(seeds):
        if len(seeds) == 1:
            raise _single_seed(
                " and ".join(sample.name for sample in aligned.samples) + " in common"
            )
        single = [_interval_variance(aligned, [number], seed) for number in seeds]
        within = max(0.0, float(np.mean(single) - variance) / (1 - 1 / len(seeds)))
        variance = max(0.0, variance - within / len(seeds)) + within / num_seeds
    return variance * aligned.units.num


def _interval_variance(aligned: AlignedSamples, seeds: Sequence[int], seed: int) -> float:
    samples = [sample.select_seeds(seeds) for sample in aligned.samples]
    estimate = replace(aligned, samples=samples).estimate(DIFFERENCE, seed=seed)
    assert estimate.low is not None
    assert estimate.high is not None
    return float(((estimate.high - estimate.low) / (2 * stats.norm.ppf(1 - ALPHA / 2))) ** 2)


def _single_seed(name: str) -> BenchError:
    return BenchError(
        f"There is a single seed of {name}, so the variance between seeds is unknown.",
        "Leave --seeds out, or run two seeds or more.",
    )


def _list_approximations(metric: Metric, *, other_cases: bool, other_seeds: bool) -> Iterator[str]:
    jackknife = metric.interval == "jackknife"
    if not metric.per_case:
        yield (
            f"the standard error of a set-level metric is the width of its {metric.interval} "
            "interval over 3.92, assumes a normal distribution, and replaces that of the "
            "label-swap test."
        )
        if jackknife:
            yield (
                "the jackknife is conservative: in simulations the label swap detected differences "
                "a quarter smaller than this with 80 % power."
            )
    if other_cases:
        yield (
            "other cases are assumed to vary as the available ones do, and the standard error to "
            "change with the root of their number."
        )
        if jackknife:
            yield "the value itself depends on the number of cases, so this is a rough guess."
    if other_seeds:
        yield (
            "the variance between seeds is estimated from the few that were run; what a seed does "
            "to all cases alike is left out, since no number of cases averages it out."
        )
