"""How far the stage that this process computes has come: for display only, no output sees it.

Stages report; the worker's heartbeat writes what they reported next to the unit's events, and the
run shows it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A report.

    Attributes:
        unit: What is counted, in the plural: "steps", "epochs", "prompts".
        tokens: Tokens processed so far; 0 where nobody counts them.
        time: Seconds on the monotonic clock.
    """

    done: int
    total: int
    unit: str
    tokens: float
    time: float


_reports: list[Progress] = []  # the first and the latest of one count


def report_progress(done: int, total: int, unit: str, *, tokens: float = 0.0) -> None:
    """Report how much of the stage is done."""
    report = Progress(done=done, total=total, unit=unit, tokens=tokens, time=time.monotonic())
    first = _reports[0] if _reports else report
    if (first.total, first.unit) != (total, unit) or done < first.done:
        first = report
    _reports[:] = [first, report]


def clear_progress() -> None:
    """Forget what an earlier stage of this process reported."""
    _reports.clear()


def describe_progress() -> str:
    """Return, e.g., "40 of 1,200 steps, 1,930 tokens/s, 3 min left"; "" without a report."""
    if not _reports:
        return ""
    first, last = _reports
    parts = [f"{last.done:,} of {last.total:,} {last.unit}"]
    seconds = last.time - first.time
    if seconds > 0 and last.done > first.done:
        if last.tokens > first.tokens:
            parts.append(f"{(last.tokens - first.tokens) / seconds:,.0f} tokens/s")
        remaining = (last.total - last.done) * seconds / (last.done - first.done)
        parts.append(f"{format_seconds(remaining)} left")
    return ", ".join(parts)


def format_seconds(value: float) -> str:
    """Write a duration: "< 0.1 s", "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if 0 < value < 0.05:
        return "< 0.1 s"
    if value < 10:
        return f"{value:.1f} s"
    seconds = round(value)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min"
