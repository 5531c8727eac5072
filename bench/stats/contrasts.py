"""Linear combinations of one metric of several methods on the same cases, with 95 % intervals.

A value has the coefficient 1, a difference -1 and 1, an interaction 1, -1, -1 and 1. Every metric
takes the same way: its value per seed, and what leaving out users changes in each (`SeedValues`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.stats.corrections import ALPHA
from bench.stats.descriptions import ONE_RUN
from bench.stats.inference import ROUNDING, Inference, SeedValues, Variance
from bench.stats.samples import Sample, Units, align_cases, align_lists, get_case_values
from bench.stats.set_metrics import sum_units

DIFFERENCE = (-1, 1)
"""The second method minus the first, the reference."""
MIN_UNITS = 10
UNBOUNDED = "The interval is unbounded: {} could have {} = 0."
NOTHING_VARIES = "{} is the same whichever user is left out, so there is no interval."


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value or a combination of values with the answers to both questions.

    Attributes:
        models: (a): over users, for these trained models; None with too few users or hits.
        methods: (b): over users and training seeds; None likewise, and with one seed.
        refusal: Why (b) has no answer; empty if it has one.
        d_z: Standardized effect of a mean over cases, t / sqrt(U); with cases as units the mean
            over the standard deviation (Cohen 1988). None for set-level metrics and without
            `models`.
    """

    value: float
    models: Inference | None
    methods: Inference | None
    refusal: str = ""
    d_z: float | None = None

    @property
    def answer(self) -> Inference | None:
        """The answer to (b) where it exists, otherwise to (a)."""
        return self.methods or self.models

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval of that answer."""
        return (self.answer.low, self.answer.high) if self.answer else None


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedSamples:
    """M methods on the same cases, measured by one metric."""

    samples: Sequence[Sample]
    metric: Metric

    @classmethod
    def align(cls, samples: Sequence[Sample], metric: str) -> AlignedSamples:
        """Align methods for a metric; errors are those of `align_cases` and `align_lists`."""
        family = get_metric(metric)
        align = align_cases if family.per_case else align_lists
        return cls(samples=align(*samples), metric=family)

    @property
    def units(self) -> Units:
        """The units of analysis."""
        return self.samples[0].units

    @cached_property
    def methods(self) -> tuple[SeedValues, ...]:
        """The value of each method per seed."""
        if self.metric.per_case:
            return tuple(map(self._average, self._unit_sums))
        return tuple(sum_units(sample, self.metric).jackknife() for sample in self.samples)

    @property
    def means(self) -> list[float]:
        """The value of each method, mean over seeds."""
        return [method.mean for method in self.methods]

    def test_equivalence(self, difference: Estimate, bound: float) -> float | None:
        """Test whether the difference of two methods is within a bound, see `Variance`."""
        if difference.answer is None:
            return None
        return Variance.combine(DIFFERENCE, self.methods).test_equivalence(
            difference.value, bound, seeds=difference.methods is not None
        )

    def estimate(self, coefficients: Sequence[float], *, value: float | None = None) -> Estimate:
        """Estimate a combination of the values, or of a `value` that it linearizes."""
        if value is None:
            value = float(_combine(coefficients, self.means))
        if refusal := self.refuse(coefficients):
            return Estimate(value=value, models=None, methods=None, refusal=refusal)
        variance = Variance.combine(coefficients, self.methods)
        models = variance.infer(value, seeds=False)
        methods = variance.infer(value, seeds=True) if variance.has_seeds else None
        if methods is None:
            refusal = ONE_RUN if models else NOTHING_VARIES.format(self.metric.name)
        d_z = None
        if self.metric.per_case and models:
            d_z = value / float(np.sqrt(variance.users * self.units.num))
        return Estimate(value=value, models=models, methods=methods, refusal=refusal, d_z=d_z)

    @cached_property
    def _unit_sums(self) -> list[NDArray[np.float64]]:
        """Per-case values of each method summed within units, shape (S, U) each."""
        of_case = self.units.of_case
        return [
            np.stack([np.bincount(of_case, weights=row) for row in values])
            for values in (get_case_values(sample, self.metric.name) for sample in self.samples)
        ]

    def count_decisive_units(self, second: int) -> int | None:
        """Count the fewest units without whom a later method beats the first one in a mean.

        A sign of a difference of means over the same cases is that of a sum, so the units that
        favor the first method the most leave first. None if no subset of the units makes it the
        better one.
        """
        sign = 1 if self.metric.higher_is_better else -1
        lead = sign * (self._unit_sums[0] - self._unit_sums[second].mean(axis=0)).mean(axis=0)
        ordered = -np.sort(-lead)
        remaining = ordered.sum() - np.concatenate([[0.0], np.cumsum(ordered)])
        reversals = np.flatnonzero(remaining < -ROUNDING)
        return int(reversals[0]) if len(reversals) else None

    def _average(self, sums: NDArray[np.float64]) -> SeedValues:
        """Average over cases, with the linearized errors of a ratio (Cochran 1977, chapter 6).

        They allow users of different size; if every unit has one case, they are the ordinary ones.
        """
        sizes = self.units.sizes
        values = sums.sum(axis=1) / sizes.sum()
        residuals = (sums - values[:, None] * sizes) / sizes.sum()
        return SeedValues(
            values=values,
            deviations=residuals * np.sqrt(self.units.num / max(1, self.units.num - 1)),
        )

    def find_ratios(self, *, seeds: bool) -> tuple[float, float] | None:
        """Find Fieller's 95 % interval of the second value over the first; None if unbounded."""
        base, value = self.means

        def excess(ratio: float) -> float:
            """Compute how far `value - ratio * base` is outside its margin."""
            margin = Variance.combine([-ratio, 1], self.methods).margin(ALPHA, seeds=seeds)
            return abs(value - ratio * base) - margin

        if Variance.combine([-1, 0], self.methods).margin(ALPHA, seeds=seeds) >= abs(base):
            return None
        center, ends = value / base, []
        for side in (-1, 1):
            step = max(abs(center), ROUNDING) / 8
            while excess(center + side * step) <= 0:
                step *= 2
            ends.append(float(optimize.brentq(excess, center, center + side * step)))
        return ends[0], ends[1]

    def refuse(self, coefficients: Sequence[float]) -> str:
        """Say why there are too few units for an interval; "" if there are enough.

        With fewer than ten units that differ, t intervals of rare hits miss too often.
        """
        if self.metric.per_case:
            sums = _combine(coefficients, [sums.mean(axis=0) for sums in self._unit_sums])
            rates = sums / self.units.sizes
            num = int(np.count_nonzero(np.abs(rates - np.median(rates)) > ROUNDING))
            what = f"differ from the others in {self.metric.name}"
        else:
            num = len(set(self.units.of_case[self.samples[0].known]))
            what = "have a target in the catalog"
        if num >= MIN_UNITS:
            return ""
        return (
            f"Too few for an interval: {num} of {self.units.num} {self.units.kind}s {what}; "
            f"{MIN_UNITS} are needed."
        )


def _combine(coefficients: Sequence[float], values: Sequence[Any]) -> Any:
    """Combine values; those added and those subtracted are summed apart, so equal ones cancel."""
    terms = list(zip(coefficients, values, strict=True))
    added = [c * value for c, value in terms if c > 0]
    subtracted = [-c * value for c, value in terms if c < 0]
    return sum(added) - sum(subtracted)


def estimate_relative(reference: Sample, other: Sample, metric: str) -> Estimate | None:
    """Estimate the relative difference between two methods, as a fraction of the reference.

    It is ρ - 1 with ρ the ratio of the two values; None if the reference is 0. The interval holds
    every ρ for which other - ρ reference does not differ from 0 (Fieller, JRSS B 16, 1954), so it
    excludes 0 exactly if the difference is significant, and p is that of the difference.
    """
    aligned = AlignedSamples.align([reference, other], metric)
    base, value = aligned.means
    if base == 0:
        return None
    estimate = replace(aligned.estimate(DIFFERENCE), value=value / base - 1)
    answers: dict[str, Any] = {}
    for question, seeds in (("models", False), ("methods", True)):
        answer: Inference | None = getattr(estimate, question)
        if answer is None:
            continue
        ends = aligned.find_ratios(seeds=seeds)
        if ends is None:
            refusal = UNBOUNDED.format(reference.name, aligned.metric.name)
            return replace(estimate, models=None, methods=None, refusal=refusal)
        answers[question] = _shift(ends, answer)
    return replace(estimate, **answers)


def _shift(ratios: tuple[float, float], answer: Inference) -> Inference:
    """Turn ratios into relative differences; rounding must not move an end across 0."""
    low, high = (ratio - 1 for ratio in ratios)
    if answer.p > ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    return Inference(low=low, high=high, p=answer.p)


def difference_of_differences(samples: Sequence[Sample], metric: str) -> Estimate:
    """Estimate (a - b) - (c - d) for the samples a, b, c, d, if they can be compared.

    The four share their users, so that what they have in common cancels.
    """
    return AlignedSamples.align(samples, metric).estimate([1, -1, -1, 1])
