"""Comparisons of methods on one metric: two methods, all against a reference, ties with the best.

They answer whether other users would give the same result. Whether other seeds would is a separate
question, see `bench.stats.seed_variance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.stats.corrections import ALPHA, holm
from bench.stats.intervals import set_interval
from bench.stats.label_swap import label_swap
from bench.stats.paired import paired_t, sign_flip
from bench.stats.randomization import NUM_RESAMPLES, ROUNDING
from bench.stats.samples import Sample, align_cases, align_lists, get_case_values
from bench.stats.seed_variance import compute_seed_values
from bench.stats.set_metrics import subtract, sum_units


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against a reference on one metric of one data set.

    Attributes:
        metric: Name of the metric, e.g. "NDCG@5".
        reference: Name of the reference.
        other: Name of the method compared with it.
        difference: other - reference, in the metric's unit, mean over seeds.
        low: Lower end of its 95 % interval; None with a single unit.
        high: Upper end of it; None with a single unit.
        relative: The difference over the reference's value; None if that is 0.
        d_z: Standardized effect of a per-case metric; None for set-level ones and where the
            differences do not vary although they are not 0.
        p: Raw two-sided p-value in (0, 1].
        p_adjusted: Corrected within the family; None before the correction.
        family_size: Number of comparisons that were corrected together.
        test: How p was obtained.
        unit: What was flipped or swapped; "user" where cases are nested in users.
        num_units: Number of units.
        better: Whether `other` has the better value, whatever p is; None for no difference.
    """

    metric: str
    reference: str
    other: str
    difference: float
    low: float | None
    high: float | None
    relative: float | None
    d_z: float | None
    p: float
    p_adjusted: float | None
    family_size: int
    test: Literal["sign-flip", "label swap"]
    unit: Literal["case", "user"]
    num_units: int
    better: bool | None

    @property
    def significant(self) -> bool | None:
        """Whether the adjusted p is at most .05; None before the correction."""
        return None if self.p_adjusted is None else self.p_adjusted <= ALPHA


def compare(
    reference: Sample,
    other: Sample,
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two methods on one metric, without any correction.

    Args:
        reference: The declared reference.
        other: The method that is compared with it.
        metric: E.g. "NDCG@5" (a mean over cases) or "DivRatio@5" (set-level).
        num_resamples: Random sign flips or label swaps if enumeration needs more.
        seed: Of all random numbers; the same seed gives the same result in any order of cases.

    Raises:
        BenchError: If the cases differ, values are missing, or no seed is common.
    """
    family = get_metric(metric)
    compare_values = _compare_means if family.per_case else _compare_sets
    return compare_values(reference, other, family, num_resamples, seed)


def compare_with_reference(
    reference: Sample,
    others: Sequence[Sample],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every other method with the reference: one family, corrected by Holm."""
    return correct_family(
        [
            compare(reference, other, metric, num_resamples=num_resamples, seed=seed)
            for other in others
        ]
    )


def correct_family(family: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values of comparisons that are made together by Holm's procedure."""
    adjusted = holm([comparison.p for comparison in family])
    return [
        replace(comparison, p_adjusted=p, family_size=len(family))
        for comparison, p in zip(family, adjusted, strict=True)
    ]


def find_ties_with_best(
    samples: Sequence[Sample],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[str, ...]:
    """Name the best method and those that do not differ significantly from it.

    The best one has the best mean over its own seeds; of several the first.

    Returns:
        Names in the order of `samples`; never empty unless `samples` is.
    """
    if not samples:
        return ()
    sign = 1 if get_metric(metric).higher_is_better else -1
    means = [sign * np.mean(list(compute_seed_values(one, metric).values())) for one in samples]
    best = samples[int(np.argmax(means))]
    rivals = [sample for sample in samples if sample is not best]
    family = compare_with_reference(best, rivals, metric, num_resamples=num_resamples, seed=seed)
    worse = {id(rival) for rival, test in zip(rivals, family, strict=True) if test.significant}
    return tuple(sample.name for sample in samples if id(sample) not in worse)


def _compare_means(
    reference: Sample, other: Sample, metric: Metric, num_resamples: int, seed: int
) -> Comparison:
    reference, other = align_cases(reference, other)
    base = get_case_values(reference, metric.name).mean(axis=0)
    # Seeds are averaged first: the cases of different seeds are not independent repetitions.
    change = get_case_values(other, metric.name).mean(axis=0) - base
    units = reference.units
    sums = np.bincount(units.of_case, weights=change).astype(np.float64)
    estimate = paired_t(sums, units.sizes)
    return Comparison(
        metric=metric.name,
        reference=reference.name,
        other=other.name,
        difference=estimate.difference,
        low=estimate.low,
        high=estimate.high,
        relative=_relative(estimate.difference, float(base.mean())),
        d_z=estimate.d_z,
        p=sign_flip(sums, num_resamples=num_resamples, seed=seed),
        p_adjusted=None,
        family_size=1,
        test="sign-flip",
        unit=units.kind,
        num_units=units.num,
        better=_is_better(estimate.difference, metric),
    )


def _compare_sets(
    reference: Sample, other: Sample, metric: Metric, num_resamples: int, seed: int
) -> Comparison:
    reference, other = align_lists(reference, other)
    units = reference.units
    base, changed = sum_units([reference, other], metric, units)
    value = float(base.mean(units.equal_weights)[0])
    difference = float(changed.mean(units.equal_weights)[0]) - value
    low, high = set_interval(metric, subtract(changed, base), base, seed=seed)
    return Comparison(
        metric=metric.name,
        reference=reference.name,
        other=other.name,
        difference=difference,
        low=low,
        high=high,
        relative=_relative(difference, value),
        d_z=None,
        p=label_swap(base, changed, num_resamples=num_resamples, seed=seed),
        p_adjusted=None,
        family_size=1,
        test="label swap",
        unit=units.kind,
        num_units=units.num,
        better=_is_better(difference, metric),
    )


def _relative(difference: float, reference: float) -> float | None:
    return difference / reference if reference else None


def _is_better(difference: float, metric: Metric) -> bool | None:
    return None if abs(difference) <= ROUNDING else (difference > 0) == metric.higher_is_better
