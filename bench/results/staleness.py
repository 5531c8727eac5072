"""Whether a result stands on stages as they are now, or on another version of one; in words."""

from __future__ import annotations

from collections.abc import Mapping

from bench.plan.code_versions import Version, recorded_versions
from bench.results.schema import Result

GONE = "none any more"


def staleness(result: Result, now: Mapping[str, Version] | None = None) -> str:
    """Say which stage kinds behind a result have another version today.

    Args:
        result: The result; stages without a version tell nothing.
        now: Today's versions; those of this program by default.

    Returns:
        A sentence, or "" where every version that is known is today's.
    """
    now = recorded_versions() if now is None else now
    then: dict[str, int] = {}
    for stage in result.stages:
        if stage.version is not None:
            then[stage.kind] = min(stage.version, then.get(stage.kind, stage.version))
    moved = [
        f"{kind} {version} → {now[kind].version if kind in now else GONE}"
        for kind, version in then.items()
        if kind not in now or now[kind].version != version
    ]
    if not moved:
        return ""
    return f"Made by another version of its stages: {', '.join(moved)}. Run it again."


def is_undated(result: Result) -> bool:
    """Tell whether a stage behind a result has no version, so that its age is unknown."""
    return any(stage.version is None for stage in result.stages)
