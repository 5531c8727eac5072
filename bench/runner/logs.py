"""One log a trial: JSON lines of what happened to its stages, over all its runs.

    <results>/logs/<dataset>/<method>/<hash>/seed-<n>.jsonl

Events: `reused` (the stage was in the store), `started`, `ended` (with seconds), `elsewhere`
(another run is making it), `failed` (with failure, error and, for a programming error, the
traceback), `cancelled`, `interrupted`. Each has the time, host, process and number of the attempt.
A stage that several trials share is in the log of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.runner.run_directory import Event

LOGS = "logs"


def log_path(results: Path, trial: str) -> Path:
    """Return where the log of a trial lies."""
    return results / LOGS / f"{trial}.jsonl"


def write_events(results: Path, trials: Iterable[str], events: Sequence[Event]) -> None:
    """Add events to the logs of some trials."""
    text = "".join(json.dumps(one) + "\n" for one in events)
    for trial in trials if text else ():
        path = log_path(results, trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
