"""Weights & Biases: a run a trial in the project `llmrec-bench` (or $WANDB_PROJECT).

A run's id is a hash of the trial's, so the same trial never makes a second one: what comes later
takes its place there. What this machine has already sent, or keeps for `wandb sync`, is not sent
again. Of the machine, the code and the command line nothing is sent but what the result says.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from bench.files import write_whole
from bench.results.trackers.entry import Entry

LIBRARY = "wandb"
PROJECT = "llmrec-bench"
MARK = "fingerprint"
LONGEST = 64
"""Letters in a tag, as W&B limits them."""

PRIVATE = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
TAGGED = ("dataset", "method", "model", "budget")


class Tracker:
    """Writes runs to the service, or into `wandb/` where $WANDB_MODE says offline.

    Args:
        library: The module `wandb`.
        target: The project; $WANDB_PROJECT, else `llmrec-bench`, if None.
        offline: Whether the network must not be touched.
    """

    def __init__(self, library: Any, target: str | None, *, offline: bool) -> None:
        self._library = library
        self._project = target or os.environ.get("WANDB_PROJECT") or PROJECT
        self._mode = "offline" if offline else None
        self._folder = Path(os.environ.get("WANDB_DIR", "."))

    def log(self, entry: Entry) -> None:
        """Write a run, unless this machine has written it as it is."""
        name = hashlib.sha256(entry.trial.encode()).hexdigest()[:16]
        marks = (self._folder / "wandb").glob(f"*run-*-{name}/{MARK}")
        if any(mark.read_text() == entry.fingerprint for mark in marks):
            return
        run = self._library.init(
            project=self._project,
            id=name,
            name=entry.trial,
            group=entry.trial.rpartition("/")[0],
            tags=[entry.tags[key][:LONGEST] for key in TAGGED if entry.tags.get(key)],
            config={**entry.settings, "tags": dict(entry.tags)},
            dir=str(self._folder),
            mode=self._mode,
            settings=self._library.Settings(**PRIVATE),
        )
        for curve, points in entry.curves.items():
            run.define_metric(curve, step_metric=f"{curve}/step")
            for step, value in points:
                run.log({curve: value, f"{curve}/step": step})
        run.summary.update(dict(entry.metrics))
        files = Path(run.dir)
        run.finish(exit_code=0 if entry.ended_well else 1)
        write_whole(files.parent / MARK, entry.fingerprint.encode())
