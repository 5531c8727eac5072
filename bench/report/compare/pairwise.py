"""Two methods on several metrics, one family of tests; as a table, as JSON and as a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError, unknown
from bench.report import format as w
from bench.report.compare.systems import System, require_comparable
from bench.report.render.terminal import fit_table
from bench.stats.compare import Comparison, compare, correct_family
from bench.stats.descriptions import NOT_EVIDENCE, QUESTIONS, describe_tests, join_words
from bench.stats.seed_variance import compute_seed_values, summarize_seeds

# Mean, standard deviation (None with one seed) and number of seeds.
MeanSd = tuple[float, float | None, int]

VERDICTS = {
    "equivalent": "is equivalent to {} in",
    "better": "is significantly better than {} in",
    "worse": "is significantly worse than {} in",
    "better model": "is a significantly better model than that of {} in",
    "worse model": "is a significantly worse model than that of {} in",
    "undecided": "does not differ significantly from {} in",
}


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One metric of two methods: the test of a - b, p adjusted over all metrics, and both sides."""

    test: Comparison
    a: MeanSd
    b: MeanSd


@dataclass(frozen=True, kw_only=True)
class PairwiseReport:
    """The comparison of a with b; b is the reference.

    Attributes:
        dataset: Name of the data set; "" if no file says.
        num_cases: Test cases, including those with unknown targets.
        metrics: One entry per metric; together they are the family that Holm's procedure corrects.
        notes: What was left out or could not be checked.
    """

    a: str
    b: str
    dataset: str
    num_cases: int
    metrics: tuple[MetricComparison, ...]
    notes: tuple[str, ...]


def choose_metrics(
    a: System, b: System, *, requested: Sequence[str], default: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the requested metrics, or of the default ones those of both sides.

    Returns:
        The metrics, and those left out.

    Raises:
        BenchError: If a requested metric is missing on one side, or no metric is left.
    """
    for metric in requested:
        a.require(metric)
        b.require(metric)
    if requested:
        return tuple(dict.fromkeys(requested)), ()
    common = tuple(metric for metric in default if a.has(metric) and b.has(metric))
    if not common:
        raise BenchError(
            f"{a.name} and {b.name} share none of the metrics {', '.join(default)}.",
            "Name others with --metric.",
        )
    return common, tuple(metric for metric in default if metric not in common)


def compare_systems(
    a: System, b: System, metrics: Sequence[str], bounds: Mapping[str, float] | None = None
) -> PairwiseReport:
    """Compare a with the reference b on every metric, each measured on both.

    `bounds` are by metric: the difference up to which the two count as equivalent.

    Raises:
        BenchError: If the data or cases differ (missing cases are named), values are missing, or a
            recorded metric is not that of its cases.
    """
    require_comparable(a, b)
    bounds = bounds or {}
    for metric in bounds:
        if metric not in metrics:
            raise unknown("compared metric", metric, metrics)
    tests = []
    for metric in metrics:
        # Different cases are the more probable mistake, and the test's error names them.
        tests.append(compare(b.sample, a.sample, metric, bounds.get(metric)))
        for system in (a, b):
            system.check(metric)
    reasons: dict[str, list[str]] = {}
    for test in tests:
        reasons.setdefault(test.refusal, []).append(test.metric)
    refusals = [f"{join_words(names)}: {why}" for why, names in reasons.items() if why]
    return PairwiseReport(
        a=a.name,
        b=b.name,
        dataset=a.dataset or b.dataset,
        num_cases=len(a.sample.cases),
        metrics=tuple(_add_seeds(a, b, test) for test in correct_family(tests)),
        notes=(*a.notes, *b.notes, *refusals),
    )


def _add_seeds(a: System, b: System, test: Comparison) -> MetricComparison:
    seeds = [[*compute_seed_values(side.sample, test.metric).values()] for side in (a, b)]
    return MetricComparison(test=test, a=summarize_seeds(seeds[0]), b=summarize_seeds(seeds[1]))


# --- as text and as JSON ------------------------------------------------------------------------


def format_report(report: PairwiseReport) -> str:
    """Format a report for the terminal."""
    where = f" on {report.dataset}" if report.dataset else ""
    parts = [
        f"{report.a} against {report.b}{where}, {w.format_count(report.num_cases, 'test case')}. "
        f"Differences are {report.a} − {report.b}.",
        _format_tests(report),
        f"p (Holm) is corrected over the family of this table "
        f"({w.format_count(len(report.metrics), 'metric')}); intervals are 95 % and not corrected. "
        f"{NOT_EVIDENCE}",
        _format_seeds(report),
        write_sentence(report),
        "\n".join(f"Note: {note}" for note in report.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def report_to_json(report: PairwiseReport) -> dict[str, Any]:
    """Convert a report to plain values; None where a number does not exist."""
    return {
        "a": report.a,
        "b": report.b,
        "difference": "a - b",
        "dataset": report.dataset or None,
        "num_cases": report.num_cases,
        "family": {
            "correction": "holm",
            "size": len(report.metrics),
            "metrics": [line.test.metric for line in report.metrics],
        },
        "metrics": {line.test.metric: _metric_to_json(line) for line in report.metrics},
        "sentence": write_sentence(report),
        "notes": list(report.notes),
    }


def write_sentence(report: PairwiseReport) -> str:
    """Write the result, the data and the statistical methods in one sentence for a paper."""
    groups: dict[str, list[str]] = {name: [] for name in VERDICTS}
    for line in report.metrics:
        groups[_verdict(line.test)].append(_format_result(line.test))
    results = [
        f"{VERDICTS[name].format(report.b)} {join_words(texts)}"
        for name, texts in groups.items()
        if texts
    ]
    tests = [line.test for line in report.metrics]
    # Set-level metrics may run over fewer users, those with known targets.
    users = max((test.num_units for test in tests if test.unit == "user"), default=0)
    cases = w.format_count(report.num_cases, "test case")
    of_users = f" of {w.format_count(users, 'user')}" if users else ""
    sizes = f"{cases}{of_users}; {_count_seeds(report)}"
    opening = f"On {report.dataset} ({sizes})" if report.dataset else f"Over {sizes}"
    methods = describe_tests((test.metric, test.question) for test in tests)
    correction = "a single test"
    if len(tests) > 1:
        correction = f"Holm: p corrected over {w.format_count(tests[0].family_size, 'metric')}"
    return f"{opening}, {report.a} {'; it '.join(results)} ({methods}; {correction})."


def _count_seeds(report: PairwiseReport) -> str:
    num_a, num_b = report.metrics[0].a[2], report.metrics[0].b[2]
    if num_a == num_b:
        return w.format_count(num_a, "seed") + (" each" if num_a > 1 else "")
    return f"{w.format_count(num_a, 'seed')} of {report.a}, {num_b} of {report.b}"


def _format_result(test: Comparison) -> str:
    if test.p is None:
        return f"{test.metric} ({w.format_signed(test.difference)}, not testable)"
    adjusted = f", Holm {_equate(test.p_adjusted)}" if test.family_size > 1 else ""
    if test.equivalent:
        adjusted += f"; {w.format_equivalence(test)}"
    return (
        f"{test.metric} ({w.format_signed(test.difference)}, 95 % CI "
        f"{w.format_interval(test.low, test.high)}, p {_equate(test.p)}{adjusted})"
    )


def _equate(p: float | None) -> str:
    text = w.format_p(p)
    return f"{text[0]} {text[1:]}" if text.startswith("<") else f"= {text}"


def _verdict(test: Comparison) -> str:
    """Say on which side a is, and whether that holds of the two models only."""
    if test.equivalent and not test.significant:
        return "equivalent"
    if test.question == "methods" or not test.differs:
        return w.comparison_verdict(test)
    return "better model" if test.better else "worse model"


def _format_tests(report: PairwiseReport) -> str:
    tests = [line.test for line in report.metrics]
    bounded = any(test.bound is not None for test in tests)
    rows = [
        (
            f"{test.metric} {w.direction_arrow(test.metric)}",
            w.format_signed(test.difference),
            w.format_interval(test.low, test.high),
            w.format_percent(test.relative),
            w.format_p(test.p),
            w.format_p(test.p_adjusted),
            w.format_value(test.d_z, digits=3),
            f"{test.question or 'none'}, {w.format_count(test.num_units, test.unit)}",
            _verdict(test),
            *([w.format_equivalence(test)] if bounded else []),
        )
        for test in tests
    ]
    headers = (
        "metric", "difference", "95 % interval", "relative", "p", "p (Holm)", "d_z",
        "about, units", "verdict", *(["equivalence"] if bounded else []),
    )  # fmt: skip
    return fit_table(rows, headers)


def _format_seeds(report: PairwiseReport) -> str:
    rows = [
        (line.test.metric, _format_side(line.a), _format_side(line.b), w.format_models(line.test))
        for line in report.metrics
    ]
    headers = ("mean over seeds", report.a, report.b, QUESTIONS["models"])
    return fit_table(rows, headers)


def _format_side(summary: MeanSd) -> str:
    mean, deviation, num_seeds = summary
    return f"{w.format_mean(mean, deviation)} ({w.format_count(num_seeds, 'seed')})"


def _metric_to_json(line: MetricComparison) -> dict[str, Any]:
    content = dataclasses.asdict(line.test)
    for name in ("metric", "reference", "other"):
        del content[name]
    return content | {
        "significant": line.test.significant,
        "equivalent": line.test.equivalent,
        "verdict": _verdict(line.test),
        "seeds": {
            side: dict(zip(("mean", "sd", "n"), summary, strict=True))
            for side, summary in (("a", line.a), ("b", line.b))
        },
    }
