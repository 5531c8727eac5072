"""What trackers are told about a trial: plain names, numbers and curves, read from its result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.hashing import Plain
from bench.results.curves import SILENT, series
from bench.results.schema import Result, StageRecord

_FORBIDDEN = re.compile(r"[^/\w.-]")

Points = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One trial, as trackers show it.

    Attributes:
        trial: Its id, `<dataset>/<method>/<hash>/seed-<n>`; a tracker has one run of that name.
        ended_well: Whether it has metrics.
        tags: Data set, method, model, board, budget, status, versions.
        settings: The method's settings, the seed and the rows; one that is a list is JSON.
        metrics: Metrics by name (checkpoints as `<checkpoint>/<metric>`), and costs.
        curves: Steps and values by `<kind of stage>/<what was noted>`, every point.
        fingerprint: Changes whenever any of the above does.
    """

    trial: str
    ended_well: bool
    tags: Mapping[str, str]
    settings: Mapping[str, bool | int | float | str]
    metrics: Mapping[str, float]
    curves: Mapping[str, Points]
    fingerprint: str


def entry_of(result: Result, tags: Mapping[str, str]) -> Entry:
    """Read an entry from a result.

    Args:
        result: The result.
        tags: What the result does not know: boards and budget.
    """
    found = {
        "trial": result.trial,
        "dataset": result.dataset,
        "method": result.method,
        "model": result.model or "none",
        "status": result.status,
        **({"reason": result.reason} if result.reason else {}),
        **tags,
        **{f"ran with {name}": value for name, value in sorted(result.provenance.items())},
    }
    given: dict[str, Plain] = {
        **result.settings,
        "seed": result.seed,
        **{f"rows.{split}": num for split, num in result.rows.items()},
    }
    whole = result.model_dump_json() + json.dumps(found, sort_keys=True)
    return Entry(
        trial=result.trial,
        ended_well=result.status == "ok",
        tags=found,
        settings={name: _simple(value) for name, value in given.items()},
        metrics=_metrics(result),
        curves=_curves(result.stages),
        fingerprint=hashlib.sha256(whole.encode()).hexdigest(),
    )


def _simple(value: Plain) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _metrics(result: Result) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, evaluation in result.evaluations.items():
        prefix = "" if name == "final" else f"{name}/"
        found |= {f"{prefix}{metric}": value for metric, value in evaluation.metrics.items()}
    if result.cost is not None:
        found |= {f"cost/{name}": value for name, value in result.cost.model_dump().items()}
        found["cost/peak_memory_mib"] = max(
            (stage.peak_memory_mib for stage in result.stages), default=0.0
        )
    return found


def _curves(stages: Sequence[StageRecord]) -> dict[str, Points]:
    """Read whole curves; a second stage of a kind goes on where the first ended.

    Where positions are no whole numbers, as trackers need them, points are counted instead.
    """
    found: dict[str, Points] = {}
    for stage in stages:
        for name, value in sorted(stage.facts.items()):
            points = [] if stage.kind in SILENT else series(value)
            if len(points) < 2:
                continue
            before = found.setdefault(f"{stage.kind}/{name}", [])
            start = before[-1][0] if before else 0
            whole = all(place.is_integer() for place, _ in points)
            before += [
                (start + (int(place) if whole else count), number)
                for count, (place, number) in enumerate(points, start=1)
            ]
    return found


def valid_name(name: str) -> str:
    """Spell a name with the letters that MLflow and TensorBoard allow.

    Example:
        >>> valid_name("NDCG@5"), valid_name("GU[Children's]@1")
        ('NDCG_at_5', 'GU_Children_s_at_1')
    """
    return _FORBIDDEN.sub("_", name.replace("]@", "_at_").replace("@", "_at_"))


def valid_names(names: Iterable[str]) -> dict[str, str]:
    """Spell names, all of them different.

    Raises:
        BenchError: If two names would be spelled alike.
    """
    spelled = {name: valid_name(name) for name in names}
    if len(set(spelled.values())) < len(spelled):
        raise BenchError("Two metrics differ only in letters that the tracker does not allow.")
    return spelled
