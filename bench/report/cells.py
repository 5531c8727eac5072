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

PlainCell: TypeAlias = dict[str, float | int | str | None]


def best_and_second(values: Mapping[str, float], *, higher_is_better: bool) -> Marks:
    """Return the rows with the best and the second-best value; without a worse one, none.

    Args:
        values: By the row's name, only rows that may be marked.
        higher_is_better: Direction of the metric.

    Example:
        >>> best_and_second({"A": 0.2, "B": 0.1, "C": 0.2, "D": 0.05}, higher_is_better=True)
        (('A', 'C'), ('B',))
    """
    if len(values) < 2:
        return (), ()
    scores = {name: value if higher_is_better else -value for name, value in values.items()}
    best = max(scores.values())
    lower = [score for score in scores.values() if score < best - ROUNDING]
    if not lower:
        return (), ()
    return (
        tuple(name for name, score in scores.items() if best - score <= ROUNDING),
        tuple(name for name, score in scores.items() if abs(score - max(lower)) <= ROUNDING),
    )


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
    return tuple(
        replace(row, cells=tuple(_mark(row, cell, marks) for cell in row.cells)) for row in rows
    )


def _mark(row: Row, cell: Cell, marks: Mapping[tuple[str, str], Marks]) -> Cell:
    best, second = marks[row.name, cell.metric]
    return replace(cell, best=row.name in best, second=row.name in second)


def aggregate_seeds(metric: str, outcomes: Sequence[Outcome]) -> Cell:
    """Aggregate one metric over the seeds of a row."""
    values = {
        seed_outcome.seed: value
        for seed_outcome in outcomes
        if (value := seed_outcome.value(metric)) is not None
    }
    reasons = dict.fromkeys(
        seed_outcome.reason for seed_outcome in outcomes if seed_outcome.status != "ok"
    )
    unmeasured = [
        seed_outcome.seed
        for seed_outcome in outcomes
        if seed_outcome.status == "ok" and seed_outcome.seed not in values
    ]
    if unmeasured:
        reasons[f"{metric} was not measured here: {_why_unmeasured(metric)}"] = None
    stale = dict.fromkeys(
        seed_outcome.stale
        for seed_outcome in outcomes
        if seed_outcome.stale and seed_outcome.seed in values
    )
    mean, sd = summarize_seeds([*values.values()])[:2] if values else (None, None)
    return Cell(
        metric=metric,
        status=combined_status(
            "skipped" if seed_outcome.seed in unmeasured else seed_outcome.status
            for seed_outcome in outcomes
        ),
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


def plain_cells(row: Row) -> dict[str, PlainCell]:
    """Return a row's values for JSON by metric; "stale" is included only where a value is."""
    return {
        cell.metric: {"mean": cell.mean, "sd": cell.sd, "n_seeds": cell.num_seeds}
        | ({"stale": cell.stale} if cell.stale else {})
        for cell in row.cells
        if cell.mean is not None
    }


def _why_unmeasured(metric: str) -> str:
    if get_metric(metric).needs_categories:
        return "the catalog does not track its categories."
    return "the catalog may hold fewer items than its lists need."
