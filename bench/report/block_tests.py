"""The statistics of one block: every row against the reference, and who is tied with the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.errors import BenchError
from bench.stats.compare import Comparison, compare_with_reference, find_ties_with_best
from bench.stats.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the statistics say of one row on one metric.

    Attributes:
        comparison: Against the reference; None for the reference itself and after a refusal.
        tied: Whether the row is not rejected against the best, or is the best.
        refusal: Why the statistics refused; empty otherwise.
    """

    comparison: Comparison | None = None
    tied: bool = False
    refusal: str = ""


def verdicts(
    metric: str,
    *,
    reference: str,
    samples: Mapping[str, Sample | BenchError],
    ranked: Collection[str],
) -> dict[str, Verdict]:
    """Judge the rows of one data set on one metric.

    Args:
        metric: Its name.
        reference: Name of the row that the others are tested against.
        samples: By row, those with a value of the metric: the sample, or why there is none.
        ranked: Rows that can be best or tied with the best.

    Returns:
        A verdict for each row of `samples`.
    """
    refused = {name: one.message for name, one in samples.items() if isinstance(one, BenchError)}
    good = {name: one for name, one in samples.items() if not isinstance(one, BenchError)}
    family: list[Comparison] = []
    others = [one for name, one in good.items() if name != reference]
    if reference in good:
        family, alone = _family(good[reference], others, metric)
        refused |= alone
    elif reference in refused:
        refused |= {one.name: refused[reference] for one in others}
    tied, why = _ties([one for name, one in good.items() if name in ranked], refused, metric)
    found = {
        name: Verdict(tied=name in tied, refusal=refused.get(name, why if name in ranked else ""))
        for name in samples
    }
    for one in family:
        found[one.other] = replace(found[one.other], comparison=one)
    return found


def _family(
    reference: Sample, others: Sequence[Sample], metric: str
) -> tuple[list[Comparison], dict[str, str]]:
    """Compare all that can be compared; one row with other test cases must not cost the rest."""
    try:
        return compare_with_reference(reference, others, metric), {}
    except BenchError:
        refused: dict[str, str] = {}
        for other in others:
            try:
                compare_with_reference(reference, [other], metric)
            except BenchError as error:
                refused[other.name] = error.message
    rest = [other for other in others if other.name not in refused]
    return compare_with_reference(reference, rest, metric), refused


def _ties(
    samples: Sequence[Sample], refused: Mapping[str, str], metric: str
) -> tuple[tuple[str, ...], str]:
    comparable = [one for one in samples if one.name not in refused]
    if len(comparable) < 2:
        return (), ""
    try:
        return find_ties_with_best(comparable, metric), ""
    except BenchError as error:
        return (), error.message
