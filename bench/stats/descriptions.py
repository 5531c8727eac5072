"""Sentences on which test, interval and correction was used; pages, terminal and exports share it.

Importing this module loads no scipy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bench.metrics.metric import IntervalMethod, Metric
from bench.metrics.registry import get_metric
from bench.stats.corrections import ALPHA
from bench.stats.randomization import NUM_RESAMPLES

NOT_EVIDENCE = "No significant difference is not evidence of equality."
TIED_WITH_BEST = "not significantly different from the best (not evidence of equality)"
SIGNIFICANT = f"p ≤ {f'{ALPHA:g}'.removeprefix('0')} after Holm"
RESAMPLING = f"two-sided with {NUM_RESAMPLES:,} resamples, or all of them where fewer exist"
CLAIM_TESTS = (
    "The papers report neither seeds nor intervals, so their numbers are compared as point values. "
    "Our results: paired tests, corrected by Holm within each data set and metric; numbers that "
    "stages log, such as seconds, by a paired t interval over seeds."
)

_TESTS = {
    True: "paired sign-flip randomization of per-case values averaged over seeds",
    False: "label-swap randomization of whole lists between the two methods",
}
_INTERVALS: dict[IntervalMethod, str] = {
    "paired t": "paired t",
    "jackknife": "normal with a delete-20 % jackknife standard error",
    "bootstrap": "normal with a bootstrap standard error",
}


def describe_tests(metrics: Iterable[str]) -> str:
    """Name the significance tests of these metrics, each with the families it is used for."""
    return join_words(_group_families(metrics, lambda metric: _TESTS[metric.per_case]))


def describe_intervals(metrics: Iterable[str]) -> str:
    """Name the interval methods of these metrics, each with the families it is used for."""
    return ", ".join(_group_families(metrics, lambda metric: _INTERVALS[metric.interval]))


def describe_correction(family_sizes: Iterable[int]) -> str:
    """Say that p-values were corrected, and in families of which sizes."""
    sizes = [str(size) for size in sorted(set(family_sizes))]
    families = f" (families of {join_words(sizes)})" if sizes else ""
    return f"corrected by Holm's procedure within each data set and metric{families}"


def join_words(words: Sequence[str]) -> str:
    """Join words as a sentence does: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _group_families(metrics: Iterable[str], describe: Callable[[Metric], str]) -> list[str]:
    families: dict[str, dict[str, None]] = {}
    for metric in map(get_metric, metrics):
        families.setdefault(describe(metric), {})[metric.family] = None
    return [f"{text} ({', '.join(names)})" for text, names in families.items()]
