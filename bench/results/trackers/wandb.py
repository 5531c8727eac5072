"""Weights & Biases: one run per trial in the project `llmrec-bench` (or $WANDB_PROJECT).

A run's id is a hash of the trial's id, so that a changed result replaces the run. What this machine
has already sent, or keeps for `wandb sync`, is not sent again. Nothing is sent about the
machine, the code and the command line beyond the result; live curves add training arguments.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from bench.files import write_whole
from bench.results.trackers.entry import TrialEntry

LIBRARY = "wandb"
PROJECT = "llmrec-bench"
FINGERPRINT = "fingerprint"
MAX_TAG_LENGTH = 64

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


def make_live_environment(target: str | None, *, offline: bool) -> dict[str, str]:
    """Return under which settings transformers' callback starts a run."""
    return {
        "WANDB_PROJECT": _get_project(target),
        "WANDB_DIR": str(_get_folder().absolute()),
        "WANDB_CONSOLE": "off",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_INIT_TIMEOUT": "10",
        "WANDB_SILENT": "true",
        "WANDB_X_DISABLE_MACHINE_INFO": "true",
        "WANDB_X_DISABLE_META": "true",
        "WANDB_X_DISABLE_STATS": "true",
        **({"WANDB_MODE": "offline"} if offline else {}),
    }


def _get_project(target: str | None) -> str:
    return target or os.environ.get("WANDB_PROJECT") or PROJECT


def _get_folder() -> Path:
    return Path(os.environ.get("WANDB_DIR", "."))


class Tracker:
    """Writes runs to the service, or into `wandb/` where $WANDB_MODE says offline.

    Args:
        library: The module `wandb`.
        target: The project; $WANDB_PROJECT, else `llmrec-bench`, if None.
        offline: Whether the network must not be touched.
    """

    def __init__(self, library: Any, target: str | None, *, offline: bool) -> None:
        self._library = library
        self._project = _get_project(target)
        self._mode = "offline" if offline else None
        self._folder = _get_folder()

    def log(self, entry: TrialEntry) -> None:
        """Write a run, unless this machine has written it as it is."""
        name = hashlib.sha256(entry.trial.encode()).hexdigest()[:16]
        fingerprints = (self._folder / "wandb").glob(f"*run-*-{name}/{FINGERPRINT}")
        if any(fingerprint.read_text() == entry.fingerprint for fingerprint in fingerprints):
            return
        run = self._library.init(
            project=self._project,
            id=name,
            name=entry.trial,
            group=entry.trial.rpartition("/")[0],
            tags=[entry.tags[key][:MAX_TAG_LENGTH] for key in TAGGED if entry.tags.get(key)],
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
        run.finish(exit_code=0 if entry.succeeded else 1)
        write_whole(files.parent / FINGERPRINT, entry.fingerprint.encode())
