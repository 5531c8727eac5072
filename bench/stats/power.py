"""Power: the smallest difference that a comparison of this size detects with probability 80 %.

It is the half-width of the 95 % interval plus that of the 60 % interval, whose quantile is the
power's: (t_.975 + t_.8) standard errors (Cohen 1988, chapter 2), with users and seeds as in
`bench.stats.inference`. No correction for a family is taken into account: after Holm in a family of
m the smallest detectable difference is larger.

Equality of equal methods is shown with probability 80 % within a bound of (t_.95 + t_.9) standard
errors, by two one-sided tests (Schuirmann 1987).

More seeds average out what training changes, more users what other users would change; the
variances of both are estimated from the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import BenchError
from bench.stats.contrasts import DIFFERENCE, AlignedSamples
from bench.stats.corrections import ALPHA
from bench.stats.inference import ROUNDING, Variance
from bench.stats.samples import Sample

POWER = 0.8
MAX_SEEDS = 100
OTHER_CASES = (
    "other cases are assumed to vary as the available ones do, and the standard error to change "
    "with the root of their number."
)
SET_LEVEL = "a set-level value may itself depend on the number of cases."
FEW_SEEDS = "the variance between seeds is estimated from the few that were run."


@dataclass(frozen=True, kw_only=True)
class DetectableDifference:
    """The smallest difference that one comparison detects.

    Attributes:
        question: "methods", or "models" with one training run.
        num_units: Cases or users; fractional for a hypothetical number of cases.
        unit: "user" where cases are nested in users.
        difference: The smallest one detectable with 80 % power, in the metric's unit; None if the
            available results do not vary.
        relative: The same over the reference's value; None if that is 0.
        equivalence: The smallest bound within which two equal methods are shown to be equivalent
            with 80 % power; None like `difference`.
        seeds_to_halve: Number of seeds of both methods that halves the difference; None if no
            number up to 100 does, as the users limit it, or with one training run.
        approximations: What is approximate about it, in words.
    """

    metric: str
    reference: str
    other: str
    question: Literal["methods", "models"]
    num_cases: int
    num_units: float
    unit: Literal["case", "user"]
    num_seeds: tuple[int, int]
    difference: float | None
    relative: float | None
    equivalence: float | None
    seeds_to_halve: int | None
    approximations: tuple[str, ...]


def detectable_difference(
    reference: Sample,
    other: Sample,
    metric: str,
    *,
    num_cases: int | None = None,
    num_seeds: int | None = None,
) -> DetectableDifference:
    """Compute the smallest difference that is detected with 80 % power.

    A hypothetical number of test cases, from 2, and of seeds of both methods replaces those of the
    results.

    Raises:
        BenchError: If the two cannot be compared or have too few units or hits, or another number
            of seeds is requested where a single one was run, so that their variance is unknown.
    """
    aligned = AlignedSamples.align([reference, other], metric)
    if refusal := aligned.refuse(DIFFERENCE):
        raise BenchError(refusal, "Run on more test cases.")
    units, cases_run = aligned.units, len(reference.cases)
    num_cases = cases_run if num_cases is None else num_cases
    num_units = _scale_units(units.num, cases_run, num_cases)
    present = Variance.combine(DIFFERENCE, aligned.methods)
    if num_seeds is not None and {num_seeds} != {*present.num_seeds} and not present.has_seeds:
        raise BenchError(
            f"There is a single seed of {reference.name} or {other.name}, so the variance between "
            "seeds is unknown.",
            "Leave --seeds out, or run two seeds or more.",
        )
    variance = present.extrapolate(num_units / units.num, num_seeds)
    difference, value = _detect(variance), aligned.means[0]
    return DetectableDifference(
        metric=metric,
        reference=reference.name,
        other=other.name,
        question="methods" if variance.has_seeds else "models",
        num_cases=num_cases,
        num_units=num_units,
        unit=units.kind,
        num_seeds=(variance.num_seeds[0], variance.num_seeds[1]),
        difference=difference,
        equivalence=_detect(variance, levels=(2 * ALPHA, 1 - POWER)),
        relative=difference / value if difference is not None and value else None,
        seeds_to_halve=None if difference is None else _halve(variance, difference),
        approximations=tuple(
            text
            for text, applies in (
                (OTHER_CASES, num_cases != cases_run),
                (SET_LEVEL, num_cases != cases_run and not aligned.metric.per_case),
                (FEW_SEEDS, variance.has_seeds),
            )
            if applies
        ),
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


def _detect(
    variance: Variance, levels: tuple[float, float] = (ALPHA, 2 * (1 - POWER))
) -> float | None:
    """Add the margins of the test and of the power; None if nothing varies."""
    seeds = variance.has_seeds
    difference = sum(variance.margin(alpha, seeds=seeds) for alpha in levels)
    return difference if difference > ROUNDING else None


def _halve(variance: Variance, difference: float) -> int | None:
    if not variance.has_seeds:
        return None
    for num_seeds in range(max(variance.num_seeds) + 1, MAX_SEEDS + 1):
        smaller = _detect(variance.extrapolate(1, num_seeds))
        if smaller is None or smaller <= difference / 2:
            return num_seeds
    return None
