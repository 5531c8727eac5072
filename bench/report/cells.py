"""The cells of a board: means over seeds, best and second, and why a value is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from bench.metrics.registry import get_metric
from bench.report.table import Cell, Row, combined_status, split_families
from bench.results.outcomes import Outcome
from bench.stats.seed_variance import summarize_seeds

# Means that are closer than this differ only by the order of a sum.
ROUNDING = 1e-12

Marks: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""The rows with the best and the second-best value."""


def best_and_second(values: Mapping[str, float], *, higher_is_better: bool) -> Marks:
    """Return the rows with the best and the second-best value; the worst value gets no mark.

    Example:
        >>> best_and_second({"A": 0.2, "B": 0.1, "C": 0.2, "D": 0.05}, higher_is_better=True)
        (('A', 'C'), ('B',))
    """
    scores = {name: value if higher_is_better else -value for name, value in values.items()}
    worst, best = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    second = max((score for score in scores.values() if score < best - ROUNDING), default=worst)
    return _find_tied(scores, best, worst), _find_tied(scores, second, worst)


def _find_tied(scores: Mapping[str, float], level: float, worst: float) -> tuple[str, ...]:
    if level <= worst + ROUNDING:
        return ()
    return tuple(name for name, score in scores.items() if abs(score - level) <= ROUNDING)


def mark_best(rows: Sequence[Row], metrics: Sequence[str]) -> tuple[Row, ...]:
    """Mark best and second of the ranked rows of each family, in every column."""
    marks: dict[tuple[str, str], Marks] = {}
    for family in split_families(rows).values():
        for column, metric in enumerate(metrics):
            means = {
                row.name: mean
                for row in family
                if row.ranked and (mean := row.cells[column].mean) is not None
            }
            higher = get_metric(metric).higher_is_better
            best_second = best_and_second(means, higher_is_better=higher)
            marks |= {(row.name, metric): best_second for row in family}

    def mark(row: Row, cell: Cell) -> Cell:
        best, second = marks[row.name, cell.metric]
        return replace(cell, best=row.name in best, second=row.name in second)

    return tuple(replace(row, cells=tuple(mark(row, cell) for cell in row.cells)) for row in rows)


def aggregate_seeds(metric: str, outcomes: Sequence[Outcome]) -> Cell:
    """Aggregate one metric over the seeds of a row."""
    values = {o.seed: value for o in outcomes if (value := o.value(metric)) is not None}
    reasons = dict.fromkeys(o.reason for o in outcomes if o.status != "ok")
    unmeasured = [o.seed for o in outcomes if o.status == "ok" and o.seed not in values]
    if unmeasured:
        reasons[f"{metric} was not measured here: {_why_unmeasured(metric)}"] = None
    stale = dict.fromkeys(o.stale for o in outcomes if o.stale and o.seed in values)
    mean, sd = summarize_seeds([*values.values()])[:2] if values else (None, None)
    return Cell(
        metric=metric,
        status=combined_status("skipped" if o.seed in unmeasured else o.status for o in outcomes),
        expected_seeds=len(outcomes),
        mean=mean,
        sd=sd,
        reason=" ".join(reasons),
        values=tuple(values.items()),
        stale=" ".join(stale),
    )


def clip_interval(metric: str, low: float, high: float) -> tuple[float, float]:
    """Cut an interval of values off at the smallest and the largest possible value.

    Example:
        >>> clip_interval("HR@5", -0.01, 0.03)
        (0.0, 0.03)
    """
    return max(low, 0.0), min(high, get_metric(metric).upper_bound)


def _why_unmeasured(metric: str) -> str:
    if get_metric(metric).needs_categories:
        return "the catalog does not track its categories."
    return "the catalog may hold fewer items than its lists need."
