"""Sentences on which test, interval and correction was used; pages, terminal and exports share it.

Importing this module loads no scipy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.metrics.registry import get_metric
from bench.stats.corrections import ALPHA

NOT_EVIDENCE = "No significant difference is not evidence of equality."
TIED_WITH_BEST = "not significantly different from the best (not evidence of equality)"
SIGNIFICANT = f"p ≤ {f'{ALPHA:g}'.removeprefix('0')} after Holm, over users and training seeds"
EQUIVALENT = f"two one-sided tests, {SIGNIFICANT}"
ONE_RUN = (
    "One training run per row: differences are between two trained models, not between methods."
)
QUESTIONS = {
    "methods": "these methods: over users and training seeds",
    "models": "these trained models: over users only",
}
PUBLISHED_NUMBERS = (
    "The papers report neither seeds nor intervals, so their numbers are compared as point values."
)
CLAIM_TESTS = (
    "Our results: tests over users and training seeds, corrected by Holm within each data set and "
    "metric; rows with one training run decide nothing about methods. Numbers that stages log, "
    "such as seconds, are compared by a paired t interval over seeds."
)


def describe_tests(questions: Iterable[tuple[str, str | None]]) -> str:
    """Say how p-values and intervals were computed, from the metric and question of each test."""
    answered = [(get_metric(name), question) for name, question in questions if question]
    families: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for metric, _ in answered:
        families[metric.per_case][metric.family] = None
    sources = {
        True: "paired differences of per-case values",
        False: "leaving out users with their lists and histories",
    }
    variances = [
        f"{sources[per_case]} ({', '.join(names)})" for per_case, names in families.items() if names
    ]
    tested = {question for _, question in answered}
    about = [text for question, text in QUESTIONS.items() if question in tested]
    if not about:
        return "no test has enough users or hits"
    return (
        f"p-values and 95 % intervals are Student's t, for {join_words(about)}; "
        f"the variance over users is that of {join_words(variances)}"
    )


def describe_correction(family_sizes: Iterable[int]) -> str:
    """Say that p-values were corrected, and in families of which sizes."""
    sizes = [str(size) for size in sorted(set(family_sizes))]
    families = f" (families of {join_words(sizes)})" if sizes else ""
    return f"corrected by Holm's procedure within each data set and metric{families}"


def join_words(words: Sequence[str]) -> str:
    """Join words as a sentence does: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
