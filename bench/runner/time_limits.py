"""Time limits of units: the user's, or generous multiples of their estimates."""

from __future__ import annotations

from collections.abc import Iterable

from bench.plan.graph import Unit
from bench.runner.estimate import Timings

MARGIN = 20.0
"""A unit may take that many times its estimate: another machine, a card that is shared."""
MIN_HOURS = 1.0
UNKNOWN_HOURS = 48.0
"""For a unit with a stage that nothing is known about."""


class TimeLimits:
    """The limits of a run.

    Args:
        timings: Estimates of the stages.
        seconds: The user's limit for every unit; None for limits from estimates.
    """

    def __init__(self, timings: Timings, seconds: float | None) -> None:
        self._timings, self._seconds = timings, seconds

    def limit(self, unit: Unit) -> float:
        """Return the maximum seconds of a unit."""
        if self._seconds is not None:
            return self._seconds
        estimates = [self._timings.estimate(stage) for stage in unit.stages]
        if any(basis == "never" for _, basis in estimates):
            return 3600.0 * UNKNOWN_HOURS
        return max(3600.0 * MIN_HOURS, MARGIN * sum(seconds for seconds, _ in estimates))

    def describe(self, units: Iterable[Unit]) -> str:
        """Say which limits the units have."""
        limits = sorted({self.limit(unit) for unit in units})
        if self._seconds is not None:
            return f"Time limit per unit of work: {self._seconds:g} s."
        hours = " to ".join(dict.fromkeys(f"{limits[i] / 3600:.3g} h" for i in (0, -1)))
        return (
            f"Time limit per unit of work: {hours} ({MARGIN:g} times its estimate, at least "
            f"{MIN_HOURS:g} h, {UNKNOWN_HOURS:g} h without an estimate). --time-limit sets another."
        )
