"""Comparisons as a board prints them: two methods, one against the rest, all pairs, ties.

They answer whether other users would give the same verdict. Whether other seeds would is another
question, and `bench.stats.seed_variance` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from bench.metrics.names import Metric, parse
from bench.stats.corrections import benjamini_hochberg, holm
from bench.stats.intervals import interval
from bench.stats.label_swap import label_swap
from bench.stats.paired import paired_t, sign_flip
from bench.stats.randomization import ROUNDING
from bench.stats.samples import Sample, align, align_lists, per_case
from bench.stats.seed_variance import by_seed
from bench.stats.set_metrics import tallies

ALPHA = 0.05
NUM_RESAMPLES = 9999
NO_PROOF = "Tied: not rejected against the best after Holm, which is no proof of equality."


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
        p_adjusted: Corrected within the family; None if that has not been done.
        family_size: Number of comparisons that were corrected together.
        test: How p was obtained.
        unit: What was flipped or swapped; "user" where cases are nested in users.
        num_units: How many of them.
        better: Whether `other` is on the better side, whatever p says; None for no difference.
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
        other: The method that is judged.
        metric: E.g. "NDCG@5" (a mean over cases) or "DivRatio@5" (set-level).
        num_resamples: Random sign flips or label swaps where enumeration needs more.
        seed: Of all draws; the same seed gives the same result, whatever the order of the rows.

    Raises:
        BenchError: If the two cannot be compared: other cases, numbers missing, no common seed.
    """
    parsed = parse(metric)
    if parsed.per_case:
        return _of_means(reference, other, parsed, num_resamples, seed)
    return _of_sets(reference, other, parsed, num_resamples, seed)


def against_reference(
    reference: Sample,
    others: Sequence[Sample],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every other method with the reference: one family, corrected by Holm."""
    family = [
        compare(reference, other, metric, num_resamples=num_resamples, seed=seed)
        for other in others
    ]
    return _corrected(family, holm([one.p for one in family]))


def all_pairs(
    samples: Sequence[Sample],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every method with every later one: one family, corrected by Benjamini-Hochberg."""
    family = [
        compare(first, second, metric, num_resamples=num_resamples, seed=seed)
        for first, second in combinations(samples, 2)
    ]
    return _corrected(family, benjamini_hochberg([one.p for one in family]))


def ties_with_best(
    samples: Sequence[Sample],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[str, ...]:
    """Name the best method and those that are not rejected against it; print `NO_PROOF` beside.

    The best is the one with the best mean over its own seeds, the first of several.

    Returns:
        Names in the order of `samples`; never empty unless `samples` is.
    """
    if not samples:
        return ()
    sign = 1 if parse(metric).higher_is_better else -1
    best = max(samples, key=lambda one: sign * float(np.mean(list(by_seed(one, metric).values()))))
    rivals = [one for one in samples if one is not best]
    family = against_reference(best, rivals, metric, num_resamples=num_resamples, seed=seed)
    beaten = {id(one) for one, test in zip(rivals, family, strict=True) if test.significant}
    return tuple(one.name for one in samples if id(one) not in beaten)


def _of_means(
    reference: Sample, other: Sample, metric: Metric, num_resamples: int, seed: int
) -> Comparison:
    reference, other = align(reference, other)
    base = per_case(reference, metric.name).mean(axis=0)
    # Seeds are averaged first: the cases of one seed are no independent repetitions of another's.
    change = per_case(other, metric.name).mean(axis=0) - base
    units = reference.units()
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
        better=_better(estimate.difference, metric),
    )


def _of_sets(
    reference: Sample, other: Sample, metric: Metric, num_resamples: int, seed: int
) -> Comparison:
    reference, other = align_lists(reference, other)
    units = reference.units()
    base, changed = tallies([reference, other], metric, units)
    value = float(base.mean(units.each_once())[0])
    difference = float(changed.mean(units.each_once())[0]) - value
    low, high = interval(metric, base, changed, seed=seed)
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
        better=_better(difference, metric),
    )


def _relative(difference: float, reference: float) -> float | None:
    return difference / reference if reference else None


def _better(difference: float, metric: Metric) -> bool | None:
    return None if abs(difference) <= ROUNDING else (difference > 0) == metric.higher_is_better


def _corrected(family: Sequence[Comparison], adjusted: Sequence[float]) -> list[Comparison]:
    return [
        replace(one, p_adjusted=p, family_size=len(family))
        for one, p in zip(family, adjusted, strict=True)
    ]
