"""Two systems on several metrics: one family of tests, corrected by Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.errors import BenchError, unknown
from bench.metrics.names import parse
from bench.report.compare.systems import System, require_comparable
from bench.stats.compare import NUM_RESAMPLES, Comparison, compare
from bench.stats.corrections import holm
from bench.stats.seed_variance import SeedTest, by_seed, mean_sd, seed_test

MeanSd = tuple[float, float | None, int]
DEFAULT_METRICS = (
    "DivRatio@1", "DivRatio@5", "ORRatio@1", "ORRatio@5", "MGU@1", "MGU@5", "HR@5", "NDCG@5",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric.

    Attributes:
        test: a - b, p adjusted over all lines.
        a: Mean and standard deviation over all of a's seeds, and their number.
        b: The same of b.
        between_seeds: What the seeds say, apart from the test above.
    """

    test: Comparison
    a: MeanSd
    b: MeanSd
    between_seeds: SeedTest


@dataclass(frozen=True, kw_only=True)
class Report:
    """The comparison of a with b; b is the reference.

    Attributes:
        a: Name of the one that is judged.
        b: Name of the reference.
        dataset: Name of the data set; "" where no file says.
        num_cases: Test cases, those with unknown targets among them.
        lines: One a metric; together they are the family that Holm's procedure corrects.
        notes: What was left out or could not be checked.
    """

    a: str
    b: str
    dataset: str
    num_cases: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def choose_metrics(
    a: System, b: System, *, asked: Sequence[str], usual: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose what to compare.

    Args:
        a: One system.
        b: The other.
        asked: Metrics named by the user; each must exist.
        usual: Those to take where none is asked for; what one side lacks is left out.

    Returns:
        The metrics, and those left out.

    Raises:
        BenchError: If a metric that was asked for is missing on one side, or nothing is left.
    """
    for metric in asked:
        for system in (a, b):
            if not system.has(metric):
                raise unknown(
                    f"metric of {system.name}", metric, next(iter(system.recorded.values()))
                )
    if asked:
        return tuple(dict.fromkeys(asked)), ()
    kept = tuple(metric for metric in usual if a.has(metric) and b.has(metric))
    if not kept:
        raise BenchError(
            f"{a.name} and {b.name} share none of the metrics {', '.join(usual)}.",
            "Name others with --metric.",
        )
    return kept, tuple(metric for metric in usual if metric not in kept)


def judge(
    a: System, b: System, metrics: Sequence[str], *, num_resamples: int = NUM_RESAMPLES
) -> Report:
    """Compare a with b on every metric.

    Args:
        a: The system that is judged.
        b: The reference.
        metrics: At least one, each measured on both.
        num_resamples: Of each test.

    Raises:
        BenchError: If the two cannot be compared: other data, other cases (the missing ones are
            named), numbers that are missing, or a stated metric that is not that of its cases.
    """
    require_comparable(a, b)
    tests = []
    for metric in metrics:
        # Other cases are the likelier mistake, and the test's refusal names them.
        tests.append(compare(b.sample, a.sample, metric, num_resamples=num_resamples))
        for system in (a, b):
            system.check(metric)
    adjusted = holm([test.p for test in tests])
    return Report(
        a=a.name,
        b=b.name,
        dataset=a.dataset or b.dataset,
        num_cases=len(a.sample.cases),
        lines=tuple(
            _line(a, b, replace(test, p_adjusted=p, family_size=len(tests)))
            for test, p in zip(tests, adjusted, strict=True)
        ),
        notes=(*a.notes, *b.notes, *_about_seeds(a, b, metrics)),
    )


def _about_seeds(a: System, b: System, metrics: Sequence[str]) -> list[str]:
    """Explain why a difference need not be that of the two means where seeds differ."""
    mine, theirs = a.sample.seeds, b.sample.seeds
    if set(mine) == set(theirs) or all(parse(metric).per_case for metric in metrics):
        return []
    common = ", ".join(str(seed) for seed in mine if seed in theirs)
    return [f"Set-level metrics are compared over the common seeds only: {common}."]


def _line(a: System, b: System, test: Comparison) -> Line:
    mine, theirs = by_seed(a.sample, test.metric), by_seed(b.sample, test.metric)
    return Line(
        test=test,
        a=mean_sd(list(mine.values())),
        b=mean_sd(list(theirs.values())),
        between_seeds=seed_test(theirs, mine),
    )
