"""Comparisons of methods on one metric: two methods, all against a reference, ties with the best.

They answer whether the methods differ, over users and training seeds, and where a method has one
training run only whether the trained models do (`bench.stats.inference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.metrics.registry import get_metric
from bench.stats.contrasts import DIFFERENCE, AlignedSamples
from bench.stats.corrections import ALPHA, holm
from bench.stats.inference import ROUNDING, Inference
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values, summarize_seeds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against a reference on one metric of one data set.

    `low`, `high`, `p` and what follows from them answer `question`; all are None without one.

    Attributes:
        difference: other - reference, in the metric's unit, mean over seeds.
        relative: The difference over the reference's value; None if that is 0.
        d_z: Standardized effect of a per-case metric, see `Estimate`.
        question: "methods" for users and training seeds, "models" where a method has one training
            run; None if `refusal` says why nothing could be tested.
        p: Raw two-sided p-value in (0, 1]; at most .05 exactly if the interval excludes 0.
        p_adjusted: Corrected within the family; None before the correction, too.
        bound: Differences up to this one are negligible, in the metric's unit; None if unstated.
        p_equivalent: Raw p of two one-sided tests that the difference is not negligible.
        p_equivalent_adjusted: Corrected within the family, like `p_adjusted`.
        family_size: Number of comparisons that were corrected together.
        models: The answer about the trained models, over users alone; None if untested.
        refusal: Why there is no answer about the methods; empty if there is one.
        unit: What is left out and resampled; "user" where cases are nested in users.
        num_seeds: Training runs of the reference and of the other.
        better: Whether `other` has the better value, whatever p is; None for no difference.
    """

    metric: str
    reference: str
    other: str
    difference: float
    relative: float | None
    d_z: float | None
    question: Literal["methods", "models"] | None
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None = None
    bound: float | None = None
    p_equivalent: float | None = None
    p_equivalent_adjusted: float | None = None
    family_size: int = 1
    models: Inference | None
    refusal: str
    unit: Literal["case", "user"]
    num_units: int
    num_seeds: tuple[int, int]
    better: bool | None

    @property
    def differs(self) -> bool:
        """Whether the adjusted p is at most .05, for the question that could be answered."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    @property
    def significant(self) -> bool:
        """Whether the methods differ; never with one training run."""
        return self.question == "methods" and self.differs

    @property
    def equivalent(self) -> bool:
        """Whether the difference of the methods is shown to be negligible."""
        adjusted = self.p_equivalent_adjusted
        return self.question == "methods" and adjusted is not None and adjusted <= ALPHA


def compare(
    reference: Sample, other: Sample, metric: str, bound: float | None = None
) -> Comparison:
    """Compare two methods on one metric, without any correction.

    With a bound, up to which differences are negligible, equivalence is tested, too.

    Raises:
        BenchError: If the cases differ or values are missing.
    """
    aligned = AlignedSamples.align([reference, other], metric)
    estimate = aligned.estimate(DIFFERENCE)
    answer, difference, base = estimate.answer, estimate.value, aligned.means[0]
    is_better = (difference > 0) == aligned.metric.higher_is_better
    return Comparison(
        metric=metric,
        reference=reference.name,
        other=other.name,
        difference=difference,
        relative=difference / base if base else None,
        d_z=estimate.d_z,
        question=("methods" if estimate.methods else "models") if answer else None,
        low=answer.low if answer else None,
        high=answer.high if answer else None,
        p=answer.p if answer else None,
        bound=bound,
        p_equivalent=None if bound is None else aligned.test_equivalence(estimate, bound),
        models=estimate.models,
        refusal=estimate.refusal,
        unit=aligned.units.kind,
        num_units=aligned.units.num,
        num_seeds=(len(reference.seeds), len(other.seeds)),
        better=is_better if abs(difference) > ROUNDING else None,
    )


def compare_with_reference(
    reference: Sample, others: Sequence[Sample], metric: str, bound: float | None = None
) -> list[Comparison]:
    """Compare every other method with the reference: one family, corrected by Holm."""
    return correct_family([compare(reference, other, metric, bound) for other in others])


def correct_family(family: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values of comparisons that are made together by Holm's procedure.

    Those without a p stay as they are and do not count.
    """
    tested = [comparison for comparison in family if comparison.p is not None]
    bounded = [comparison for comparison in tested if comparison.p_equivalent is not None]
    adjusted = iter(holm([comparison.p or 0.0 for comparison in tested]))
    equivalent = iter(holm([comparison.p_equivalent or 0.0 for comparison in bounded]))
    return [
        comparison
        if comparison.p is None
        else replace(
            comparison,
            p_adjusted=next(adjusted),
            p_equivalent_adjusted=None if comparison.p_equivalent is None else next(equivalent),
            family_size=len(tested),
        )
        for comparison in family
    ]


def find_ties_with_best(samples: Sequence[Sample], metric: str) -> tuple[str, ...]:
    """Name the best method and those that were tested and do not differ significantly from it.

    The best one has the best mean over its own seeds; of several the first. Names are in the order
    of `samples`.
    """
    if not samples:
        return ()
    sign = 1 if get_metric(metric).higher_is_better else -1
    means = [
        sign * summarize_seeds([*compute_seed_values(sample, metric).values()])[0]
        for sample in samples
    ]
    best = samples[means.index(max(means))]
    rivals = [sample for sample in samples if sample is not best]
    tied = {
        test.other
        for test in compare_with_reference(best, rivals, metric)
        if test.question == "methods" and not test.significant
    }
    return tuple(sample.name for sample in samples if sample is best or sample.name in tied)
