"""Training curves, read from the metrics that stages logged.

A list of numbers is a curve over its steps; a list of pairs, or a mapping from steps to numbers, is
a curve over these steps; measures that belong together (chosen and rejected) share a chart.
Everything else that a stage logged is no curve and is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from bench.results.schema import StageRecord

Points = list[tuple[float, float]]

MAX_POINTS, MIN_POINTS = 60, 12
DATA_STAGES = frozenset({"prepare", "draw", "reorder", "sample", "evaluate"})
"""Kinds of stages whose lists of numbers describe data, not training."""

ENDINGS = ("_by_step", "_by_epoch", "_by_round")
TOGETHER = ("chosen", "rejected", "train", "valid")
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Series = list[Number] | list[tuple[Number, Number]] | dict[FiniteFloat, Number]
SERIES: TypeAdapter[Series] = TypeAdapter(Series)
SPELLED = {"logp": "log-probability", "logps": "log-probability", "lr": "learning rate"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure over the training of a trial.

    Attributes:
        kind: Kind of the stages, e.g. "preference".
        measure: What was measured, e.g. "log-probability".
        part: Which of several that share a chart, e.g. "chosen"; "" for a single one.
        over: "step", "epoch" or "round".
        points: Position and value, about `MAX_POINTS` at most; where a trial has several stages of
            the kind, the next starts where the previous one ended.
        ends: Positions where a stage ended, except the last one.
    """

    kind: str
    measure: str
    part: str
    over: str
    points: tuple[tuple[float, float], ...]
    ends: tuple[float, ...]
    num_values: int


def read_curves(stages: Iterable[StageRecord]) -> tuple[Curve, ...]:
    """Read the curves of a trial's stages, in the order of the stages."""
    series: dict[tuple[str, str], list[Points]] = {}
    for kind, name, points in iterate_series(stages):
        series.setdefault((kind, name), []).append(points)
    return tuple(join_curve(kind, name, parts) for (kind, name), parts in series.items())


def iterate_series(stages: Iterable[StageRecord]) -> Iterator[tuple[str, str, Points]]:
    """Yield kind, name and two or more points of everything that is a curve, stage by stage."""
    for stage in stages:
        for name, value in sorted(stage.metadata.items()):
            points = [] if stage.kind in DATA_STAGES else read_series(value)
            if len(points) > 1:
                yield stage.kind, name, points


def read_series(value: Any) -> Points:
    """Read positions and values from a logged value; empty where it is no series of numbers.

    Example:
        >>> read_series([0.5, 0.25]), read_series({"10": 0.5}), read_series("x")
        ([(1.0, 0.5), (2.0, 0.25)], [(10.0, 0.5)], [])
    """
    try:
        series = SERIES.validate_python(value)
    except ValidationError:
        return []
    if isinstance(series, dict):
        return sorted(series.items())
    return [
        each if isinstance(each, tuple) else (float(position), each)
        for position, each in enumerate(series, start=1)
    ]


def join_curve(kind: str, name: str, parts: Sequence[Points]) -> Curve:
    """Join what the stages of a kind logged under a name, one after another."""
    measure, part, over = split_name(name)
    points: Points = []
    ends: list[float] = []
    start, limit = 0.0, max(MIN_POINTS, MAX_POINTS // len(parts))
    for part_points in parts:
        points += smooth([(start + step, value) for step, value in part_points], limit)
        start = points[-1][0]
        ends.append(start)
    return Curve(
        kind=kind,
        measure=measure,
        part=part,
        over=over,
        points=tuple(points),
        ends=tuple(ends[:-1]),
        num_values=sum(map(len, parts)),
    )


def split_name(name: str) -> tuple[str, str, str]:
    """Split the name of a logged metric: measure, part of a shared chart, and what it runs over.

    Example:
        >>> split_name("chosen_by_step"), split_name("loss_by_epoch")
        (('log-probability', 'chosen', 'step'), ('loss', '', 'epoch'))
    """
    over = next((end for end in ENDINGS if name.endswith(end)), "")
    stem = name.removesuffix(over) if over else name
    part = next((word for word in TOGETHER if word in stem.split("_")), "")
    rest = [word for word in stem.split("_") if word != part] or ["logp"]
    measure = " ".join(SPELLED.get(word, word) for word in rest)
    return measure, part, over.removeprefix("_by_") or "step"


def smooth(points: Points, limit: int) -> Points:
    """Reduce to at most `limit` points: means of equally many neighbors; both ends keep theirs."""
    size = math.ceil(len(points) / limit)
    if size <= 1:
        return points
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    means = [tuple(math.fsum(axis) / len(run) for axis in zip(*run, strict=True)) for run in runs]
    positions = [points[0][0], *(position for position, _ in means[1:-1]), points[-1][0]]
    return [(position, value) for position, (_, value) in zip(positions, means, strict=True)]
