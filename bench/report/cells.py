"""The cells of a board: means over seeds, best and second, and why a value is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from bench.metrics.registry import get_metric
from bench.report.table import Cell, Row, overall
from bench.results.load import Outcome
from bench.stats.seed_variance import summarize_seeds

# Means that lie closer than this differ by the order of a sum only.
ROUNDING = 1e-12

PlainCell: TypeAlias = dict[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Which rows of a column are best and second; rows of equal value share a mark."""

    best: tuple[str, ...] = ()
    second: tuple[str, ...] = ()


def marks(values: Mapping[str, float], *, higher_is_better: bool) -> Marks:
    """Find best and second of a column; a single row is no contest and gets no mark.

    Args:
        values: By the row's name, rows that may be marked only.
        higher_is_better: Of the metric.

    Example:
        >>> marks({"A": 0.2, "B": 0.1, "C": 0.2, "D": 0.05}, higher_is_better=True)
        Marks(best=('A', 'C'), second=('B',))
    """
    if len(values) < 2:
        return Marks()
    scores = {name: value if higher_is_better else -value for name, value in values.items()}
    best = max(scores.values())
    second = max((score for score in scores.values() if score < best - ROUNDING), default=None)
    return Marks(
        best=tuple(name for name, score in scores.items() if best - score <= ROUNDING),
        second=tuple(
            name
            for name, score in scores.items()
            if second is not None and abs(score - second) <= ROUNDING
        ),
    )


def marked(rows: Sequence[Row], metrics: Sequence[str]) -> tuple[Row, ...]:
    """Mark best and second of the ranked rows in every column."""
    found = [
        marks(
            {
                row.name: mean
                for row in rows
                if row.ranked and (mean := row.cells[column].mean) is not None
            },
            higher_is_better=get_metric(metric).higher_is_better,
        )
        for column, metric in enumerate(metrics)
    ]
    return tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, best=row.name in mark.best, second=row.name in mark.second)
                for cell, mark in zip(row.cells, found, strict=True)
            ),
        )
        for row in rows
    )


def cell(metric: str, outcomes: Sequence[Outcome]) -> Cell:
    """Sum up one metric over the seeds of a row."""
    by_seed = [
        (outcome.seed, value)
        for outcome in outcomes
        if (value := outcome.value(metric)) is not None
    ]
    reasons = dict.fromkeys(outcome.reason for outcome in outcomes if outcome.status != "ok")
    absent = [one.seed for one in outcomes if one.status == "ok" and one.value(metric) is None]
    if absent:
        reasons[f"{metric} was not measured here: {_why_absent(metric)}"] = None
    status = overall(
        "skipped" if outcome.seed in absent else outcome.status for outcome in outcomes
    )
    old = dict.fromkeys(
        one.stale for one in outcomes if one.stale and one.value(metric) is not None
    )
    mean, sd = summarize_seeds([value for _, value in by_seed])[:2] if by_seed else (None, None)
    return Cell(
        metric=metric,
        status=status,
        expected_seeds=len(outcomes),
        mean=mean,
        sd=sd,
        reason=" ".join(reasons),
        values=tuple(by_seed),
        stale=" ".join(old),
    )


def plain(cell: Cell) -> PlainCell:
    """Return a cell's values for JSON; "stale" is among them only where it is."""
    found: PlainCell = {"mean": cell.mean, "sd": cell.sd, "n_seeds": cell.n_seeds}
    return found | ({"stale": cell.stale} if cell.stale else {})


def _why_absent(metric: str) -> str:
    if get_metric(metric).needs_categories:
        return "the catalog does not track its categories."
    return "the catalog may hold fewer items than its lists need."
