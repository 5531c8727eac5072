"""Measures: numbers that the stages of a trial logged, such as seconds and losses, as metrics.

A paper's claim file declares its measures; checks name them like metrics. A measure has one value
per seed and none per test case, so it is compared between seeds, by a paired t interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.config.toml import Card, Names
from bench.errors import BenchError
from bench.results.curves import read_series
from bench.results.schema import Result, StageRecord

SECONDS = "seconds"
END_FRACTION = 0.1
"""Part of a curve whose mean is its start or its end: single steps are noisy."""


class Measure(Card):
    """A number of a trial, from what its stages logged.

    Attributes:
        stages: Kinds of the stages that logged it; a trial may have several of a kind.
        field: Name of the logged number or curve; "seconds" is the stage's time.
        less: Name of another one that is subtracted, from a curve point by point; with `absolute`
            after both are reduced.
        take: What a curve is reduced to; a number stays as it is. "change" is from its start to its
            end, "remainder" its end over its start.
        absolute: Whether only the size counts.
        over: How the stages are combined; "change" is from the first to the last.
        factor: Factor of the value, for example 100 for percent.
        relative_to: Name of a row: values are divided by that row's with the same seed.
        higher_is_better: Direction of the measure.
    """

    stages: Names
    field: str = SECONDS
    less: str = ""
    take: Literal["mean", "end", "smallest", "change", "remainder"] = "mean"
    absolute: bool = False
    over: Literal["mean", "sum", "last", "change"] = "mean"
    factor: float = 1.0
    relative_to: str = ""
    higher_is_better: bool = False

    def read(self, result: Result) -> float:
        """Read the measure of a trial.

        Raises:
            BenchError: If no stage of the trial logged it.
        """
        values = [self._reduce(stage) for stage in result.stages if stage.kind in self.stages]
        logged = [value for value in values if value is not None]
        if not logged or (self.over == "change" and len(logged) < 2):
            raise BenchError(
                f"{result.trial} has no {self.field} of {' or '.join(self.stages)} stages"
                + (", or of a single one only." if logged else "."),
                "Run the trial with the current version.",
            )
        combined = {
            "mean": float(np.mean(logged)),
            "sum": float(np.sum(logged)),
            "last": logged[-1],
            "change": logged[-1] - logged[0],
        }
        return self.factor * combined[self.over]

    def _reduce(self, stage: StageRecord) -> float | None:
        curve, less = _read_curve(stage, self.field), _read_curve(stage, self.less)
        if not curve or (self.less and not less):
            return None
        if self.absolute:
            return abs(self._take(curve)) - (abs(self._take(less)) if less else 0.0)
        if less:
            curve = [value - other for value, other in zip(curve, less, strict=False)]
        return self._take(curve)

    def _take(self, curve: Sequence[float]) -> float:
        size = max(1, round(END_FRACTION * len(curve)))
        start, end = float(np.mean(curve[:size])), float(np.mean(curve[-size:]))
        reduced = {
            "mean": float(np.mean(curve)),
            "end": end,
            "smallest": min(curve),
            "change": end - start,
            "remainder": end / start if start else 0.0,
        }
        return reduced[self.take]


def _read_curve(stage: StageRecord, field: str) -> list[float]:
    if field == SECONDS:
        return [stage.seconds]
    value = stage.metadata.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    return [point for _, point in read_series(value)]


def measure_seeds(
    measure: Measure, results: Sequence[Result], base: Sequence[Result]
) -> dict[int, float]:
    """Read a measure by seed; `base` are results of the row that it is relative to.

    Raises:
        BenchError: If a trial has no value, or times of two machines would be divided.
    """
    values = {result.seed: measure.read(result) for result in results}
    if not measure.relative_to:
        return values
    machines = {
        tuple(result.provenance.get(name, "") for name in ("host", "gpu", "device"))
        for result in (*results, *base)
    }
    if measure.field == SECONDS and len(machines) > 1:
        raise BenchError(
            f"Times of different machines are not divided: {sorted(machines)}.",
            "Run the board on one machine.",
        )
    bases = {result.seed: measure.read(result) for result in base}
    return {seed: value / bases[seed] for seed, value in values.items() if bases.get(seed)}
