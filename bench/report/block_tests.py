"""The tests of rows with one reference: each row against it, and which tie with the best."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.errors import BenchError
from bench.stats.compare import Comparison, compare_with_reference, find_ties_with_best
from bench.stats.contrasts import Estimate, estimate_relative
from bench.stats.reproduction import estimate
from bench.stats.samples import Sample


@dataclass(frozen=True, kw_only=True)
class RowTest:
    """What the statistics say about one row on one metric.

    Attributes:
        comparison: With the reference; None for the reference itself and after a refusal.
        tied: Whether the row is the best, or was tested and is not significantly different.
        refusal: Why nothing could be tested; empty otherwise.
    """

    comparison: Comparison | None = None
    tied: bool = False
    refusal: str = ""


def compare_block(
    metric: str,
    samples: Mapping[str, Sample | BenchError],
    *,
    reference: str,
    ranked: Collection[str],
    bound: float | None = None,
) -> dict[str, RowTest]:
    """Test the rows of one data set that share a reference, on one metric.

    Args:
        metric: Its name.
        samples: By row, those with a value of the metric: the sample, or why there is none.
        reference: Name of the row that the others are tested against.
        ranked: Rows that can be best or tied with the best.
        bound: Differences up to this one are negligible.
    """
    refusals = {
        name: sample.message for name, sample in samples.items() if isinstance(sample, BenchError)
    }
    readable = {name: sample for name, sample in samples.items() if isinstance(sample, Sample)}
    others = [sample for name, sample in readable.items() if name != reference]
    family: list[Comparison] = []
    if reference in readable:
        family, incomparable = _compare_family(readable[reference], others, metric, bound)
        refusals |= incomparable
    elif reference in refusals:
        refusals |= {sample.name: refusals[reference] for sample in others}
    tied, tie_refusal = _find_ties(
        [sample for name, sample in readable.items() if name in ranked and name not in refusals],
        metric,
    )
    tests = {}
    for name in samples:
        refusal = refusals.get(name, tie_refusal if name in ranked else "")
        tests[name] = RowTest(tied=name in tied, refusal=refusal)
    for test in family:
        refusal = "" if test.question else test.refusal
        tests[test.other] = replace(tests[test.other], comparison=test, refusal=refusal)
    return tests


def estimate_gains(
    samples: Mapping[str, Sample | BenchError], reference: str, row: str, metrics: Sequence[str]
) -> dict[str, Estimate]:
    """Estimate a row's relative change from its reference, by metric, as far as it can be."""
    base, other = samples.get(reference), samples.get(row)
    if not (isinstance(base, Sample) and isinstance(other, Sample)):
        return {}
    return _estimate_each(partial(estimate_relative, base, other), metrics)


def estimate_means(sample: Sample | BenchError, metrics: Sequence[str]) -> dict[str, Estimate]:
    """Estimate a row's means with their intervals, by metric, as far as they can be."""
    return (
        {} if isinstance(sample, BenchError) else _estimate_each(partial(estimate, sample), metrics)
    )


def _estimate_each(
    function: Callable[[str], Estimate | None], metrics: Sequence[str]
) -> dict[str, Estimate]:
    estimates = {}
    for metric in metrics:
        with contextlib.suppress(BenchError):  # the cell says why
            if (answer := function(metric)) is not None:
                estimates[metric] = answer
    return estimates


def _compare_family(
    reference: Sample, others: Sequence[Sample], metric: str, bound: float | None
) -> tuple[list[Comparison], dict[str, str]]:
    """Compare all comparable rows; a row with other test cases must not cost the rest."""
    try:
        return compare_with_reference(reference, others, metric, bound), {}
    except BenchError:
        refusals: dict[str, str] = {}
        for other in others:
            try:
                compare_with_reference(reference, [other], metric)
            except BenchError as error:
                refusals[other.name] = error.message
    comparable = [other for other in others if other.name not in refusals]
    return compare_with_reference(reference, comparable, metric, bound), refusals


def _find_ties(samples: Sequence[Sample], metric: str) -> tuple[tuple[str, ...], str]:
    if len(samples) < 2:
        return (), ""
    try:
        return find_ties_with_best(samples, metric), ""
    except BenchError as error:
        return (), error.message
