"""How long what is missing will take, judged by what the same kinds of stages took before."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from bench.plan import Stage
from bench.store import Store


def median_seconds(store: Store) -> dict[str, float]:
    """Return the median wall time by kind over all artefacts of a store."""
    seconds: dict[str, list[float]] = {}
    for meta in store.entries():
        seconds.setdefault(meta["kind"], []).append(meta["seconds"])
    return {kind: median(values) for kind, values in seconds.items()}


def estimate(stages: Iterable[Stage], known: dict[str, float]) -> tuple[float, list[str]]:
    """Add up the stages' times on one worker; also name the kinds that were never timed."""
    stages = list(stages)
    unknown = sorted({stage.kind for stage in stages} - known.keys())
    return sum(known.get(stage.kind, 0.0) for stage in stages), unknown
