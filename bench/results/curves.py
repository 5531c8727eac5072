"""What stages noted while they trained, as curves: lists of numbers, whatever their names.

A stage's facts are a dictionary of its own choosing. A list of numbers is a curve over its steps; a
list of pairs, or a mapping from steps to numbers, one over these steps; numbers that belong
together (chosen and rejected) share a chart. Anything else is no curve and is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MAX_POINTS, FEWEST_POINTS = 60, 12
SILENT = frozenset({"prepare", "draw", "sample", "evaluate"})
"""Kinds of stages whose lists of numbers describe data, not training."""

ENDINGS = ("_by_step", "_by_epoch", "_by_round")
TOGETHER = ("chosen", "rejected", "train", "valid")
SPELLED = {"logp": "log-probability", "logps": "log-probability", "lr": "learning rate"}


class Noted(Protocol):
    """What a curve is read from: a stage's kind and facts."""

    @property
    def kind(self) -> str:
        """Kind of the stage."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What it noted."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure over the training of a trial.

    Attributes:
        kind: Kind of the stages, e.g. "preference".
        measure: What was measured, e.g. "log-probability".
        part: Which of several that share a chart, e.g. "chosen"; "" for a single one.
        over: "step", "epoch" or "round".
        points: Position and value, about `MAX_POINTS` at most; where a trial has several stages of
            the kind, the next goes on where the last one ended.
        ends: Positions where a stage ended, the last one left out.
        num: Values that were noted.
    """

    kind: str
    measure: str
    part: str
    over: str
    points: tuple[tuple[float, float], ...]
    ends: tuple[float, ...]
    num: int


def curves(stages: Iterable[Noted]) -> tuple[Curve, ...]:
    """Read the curves of a trial's stages, in the order of the work."""
    found: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    for stage in stages:
        if stage.kind in SILENT:
            continue
        for name, value in sorted(stage.facts.items()):
            points = series(value)
            if len(points) > 1:
                found.setdefault((stage.kind, name), []).append(points)
    return tuple(_curve(kind, name, parts) for (kind, name), parts in found.items())


def series(value: Any) -> list[tuple[float, float]]:
    """Read positions and values from a fact; empty where it is no series of numbers.

    Example:
        >>> series([0.5, 0.25]), series([[10, 0.5], [20, 0.25]]), series({"10": 0.5}), series("x")
        ([(1.0, 0.5), (2.0, 0.25)], [(10.0, 0.5), (20.0, 0.25)], [(10.0, 0.5)], [])
    """
    if isinstance(value, Mapping):
        pairs = [(_number(step), _number(one)) for step, one in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        pairs = [_pair(place, one) for place, one in enumerate(value, start=1)]
    else:
        return []
    if any(step is None or one is None for step, one in pairs):
        return []
    points = [(step, one) for step, one in pairs if step is not None and one is not None]
    return sorted(points) if isinstance(value, Mapping) else points


def _pair(place: int, value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) == 2:
        return _number(value[0]), _number(value[1])
    return float(place), _number(value)


def _number(value: Any) -> float | None:
    """Read a finite number; what cannot be drawn makes a series none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _curve(kind: str, name: str, parts: Sequence[Sequence[tuple[float, float]]]) -> Curve:
    measure, part, over = words(name)
    points: list[tuple[float, float]] = []
    ends: list[float] = []
    start, most = 0.0, max(FEWEST_POINTS, MAX_POINTS // len(parts))
    for one in parts:
        points += thinned([(start + step, value) for step, value in one], most)
        start = points[-1][0]
        ends.append(start)
    return Curve(
        kind=kind,
        measure=measure,
        part=part,
        over=over,
        points=tuple(points),
        ends=tuple(ends[:-1]),
        num=sum(map(len, parts)),
    )


def words(name: str) -> tuple[str, str, str]:
    """Take the name of a fact apart: measure, part of a shared chart, and what it runs over.

    Example:
        >>> words("chosen_by_step"), words("loss_by_epoch"), words("losses")
        (('log-probability', 'chosen', 'step'), ('loss', '', 'epoch'), ('losses', '', 'step'))
    """
    over = next((end for end in ENDINGS if name.endswith(end)), "")
    stem = name.removesuffix(over) if over else name
    part = next((word for word in TOGETHER if word in stem.split("_")), "")
    rest = [word for word in stem.split("_") if word != part] or ["logp"]
    measure = " ".join(SPELLED.get(word, word) for word in rest)
    return measure, part, over.removeprefix("_by_") or "step"


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Keep at most `most` points: means of equal runs of neighbors, from the first to the last."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    means = [tuple(math.fsum(axis) / len(run) for axis in zip(*run, strict=True)) for run in runs]
    places = [points[0][0], *(place for place, _ in means[1:-1]), points[-1][0]]
    return [(place, value) for place, (_, value) in zip(places, means, strict=True)]
