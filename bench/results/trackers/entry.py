"""What trackers receive about a trial: names, numbers and curves, read from its result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.results.curves import iterate_series
from bench.results.schema import Result, StageRecord

_FORBIDDEN = re.compile(r"[^/\w.-]")

Points = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class TrialEntry:
    """One trial as trackers show it.

    Attributes:
        settings: The method's settings, the seed and the rows; lists as JSON.
        metrics: Metrics by name (checkpoints as `<checkpoint>/<metric>`), and costs.
        curves: Steps and values by `<kind of stage>/<logged metric>`.
        fingerprint: Hash of the result and the tags.
    """

    trial: str
    succeeded: bool
    tags: Mapping[str, str]
    settings: Mapping[str, bool | int | float | str]
    metrics: Mapping[str, float]
    curves: Mapping[str, Points]
    fingerprint: str


def make_entry(result: Result, tags: Mapping[str, str]) -> TrialEntry:
    """Convert a result; boards and budget are tags that it does not hold."""
    all_tags = {
        **{name: getattr(result, name) for name in ("trial", "dataset", "method")},
        "model": result.model or "none",
        "status": result.status,
        **({"reason": result.reason} if result.reason else {}),
        **tags,
        **{f"ran with {name}": value for name, value in sorted(result.provenance.items())},
    }
    content = result.model_dump_json() + json.dumps(all_tags, sort_keys=True)
    return TrialEntry(
        trial=result.trial,
        succeeded=result.status == "ok",
        tags=all_tags,
        settings={
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in result.all_settings.items()
        },
        metrics=_collect_metrics(result),
        curves=_collect_curves(result.stages),
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
    )


def _collect_metrics(result: Result) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, evaluation in result.evaluations.items():
        prefix = "" if name == "final" else f"{name}/"
        metrics |= {f"{prefix}{metric}": value for metric, value in evaluation.metrics.items()}
    if result.cost is not None:
        metrics |= {f"cost/{name}": value for name, value in result.cost.model_dump().items()}
        peaks = [stage.peak_memory_mib for stage in result.stages]
        metrics["cost/peak_memory_mib"] = max(peaks, default=0.0)
    return metrics


def _collect_curves(stages: Sequence[StageRecord]) -> dict[str, Points]:
    """Read training curves; a second stage of a kind continues where the first ended.

    Trackers need whole steps: where positions are fractions, points are numbered instead.
    """
    curves: dict[str, Points] = {}
    for kind, name, points in iterate_series(stages):
        curve = curves.setdefault(f"{kind}/{name}", [])
        start = curve[-1][0] if curve else 0
        are_steps = all(position.is_integer() for position, _ in points)
        curve += [
            (start + (int(position) if are_steps else number), value)
            for number, (position, value) in enumerate(points, start=1)
        ]
    return curves


def spell_names(names: Iterable[str]) -> dict[str, str]:
    """Replace the characters that MLflow and TensorBoard do not allow.

    Example:
        >>> spell_names(["NDCG@5", "GU[Children's]@1"])
        {'NDCG@5': 'NDCG_at_5', "GU[Children's]@1": 'GU_Children_s_at_1'}

    Raises:
        BenchError: Two names become equal.
    """
    allowed = {
        name: _FORBIDDEN.sub("_", name.replace("]@", "_at_").replace("@", "_at_")) for name in names
    }
    if len(set(allowed.values())) < len(allowed):
        raise BenchError("Two metrics differ only in characters that the tracker does not allow.")
    return allowed
