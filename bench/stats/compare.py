"""Comparisons of methods on one metric: two methods, all against a reference, ties with the best.

They answer whether other users would give the same result. Whether other seeds would is a separate
question, see `bench.stats.seed_variance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.metrics.registry import get_metric
from bench.stats.contrasts import DIFFERENCE, AlignedSamples
from bench.stats.corrections import ALPHA, holm
from bench.stats.label_swap import label_swap
from bench.stats.paired import paired_t, sign_flip
from bench.stats.randomization import NUM_RESAMPLES, ROUNDING
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values


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
    aligned = AlignedSamples.align([reference, other], metric)
    units, family = aligned.units, aligned.metric
    if family.per_case:
        changes = aligned.sum_changes(DIFFERENCE)
        estimate = paired_t(changes, units.sizes)
        p = sign_flip(changes, num_resamples=num_resamples, seed=seed)
    else:
        estimate = aligned.estimate(DIFFERENCE, seed=seed)
        p = label_swap(*aligned.sums, num_resamples=num_resamples, seed=seed)
    difference, base = estimate.value, aligned.means[0]
    is_better = (difference > 0) == family.higher_is_better
    return Comparison(
        metric=metric,
        reference=reference.name,
        other=other.name,
        difference=difference,
        low=estimate.low,
        high=estimate.high,
        relative=difference / base if base else None,
        d_z=estimate.d_z,
        p=p,
        p_adjusted=None,
        family_size=1,
        test="sign-flip" if family.per_case else "label swap",
        unit=units.kind,
        num_units=units.num,
        better=is_better if abs(difference) > ROUNDING else None,
    )


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
    means = [
        sign * np.mean(list(compute_seed_values(sample, metric).values())) for sample in samples
    ]
    best = samples[int(np.argmax(means))]
    rivals = [sample for sample in samples if sample is not best]
    family = compare_with_reference(best, rivals, metric, num_resamples=num_resamples, seed=seed)
    worse = {id(rival) for rival, test in zip(rivals, family, strict=True) if test.significant}
    return tuple(sample.name for sample in samples if id(sample) not in worse)
