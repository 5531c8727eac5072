"""Weights & Biases: one run per trial in the project `llmrec-bench` (or $WANDB_PROJECT).

A run's id is a hash of the trial's id, so that a changed result replaces the run. What this machine
has already sent, or keeps for `wandb sync`, is not sent again. Nothing is sent about the machine,
the code and the command line beyond the result; live curves add the training arguments.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.results.trackers.entry import TrialEntry

LIBRARY = "wandb"
PROJECT = "llmrec-bench"
FINGERPRINT = "fingerprint"
MAX_TAG_LENGTH = 64
TAGGED = ("dataset", "method", "model", "budget")
PRIVACY = {
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_SAVE_CODE": "false",
    "WANDB_SILENT": "true",
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}


def make_environment(target: str | None, *, offline: bool) -> dict[str, str]:
    """Return the environment variables that select the project and what is not sent."""
    return {
        **PRIVACY,
        "WANDB_DIR": str(Path(os.environ.get("WANDB_DIR", ".")).absolute()),
        "WANDB_INIT_TIMEOUT": os.environ.get("WANDB_INIT_TIMEOUT", "20"),
        "WANDB_PROJECT": target or os.environ.get("WANDB_PROJECT") or PROJECT,
        **({"WANDB_MODE": "offline"} if offline else {}),
    }


class Tracker:
    """Writes runs to the service, or into `wandb/` if $WANDB_MODE is offline."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def log(self, entry: TrialEntry) -> None:
        """Write a run, unless this machine has written it already."""
        name = hashlib.sha256(entry.trial.encode()).hexdigest()[:16]
        folder = Path(os.environ["WANDB_DIR"]) / "wandb"
        fingerprints = folder.glob(f"*run-*-{name}/{FINGERPRINT}")
        if any(path.read_text() == entry.fingerprint for path in fingerprints):
            return
        run = self._library.init(
            id=name,
            name=entry.trial,
            group=entry.trial.rpartition("/")[0],
            tags=[entry.tags[key][:MAX_TAG_LENGTH] for key in TAGGED if entry.tags.get(key)],
            config={**entry.settings, "tags": dict(entry.tags)},
        )
        for curve, points in entry.curves.items():
            run.define_metric(curve, step_metric=f"{curve}/step")
            for step, value in points:
                run.log({curve: value, f"{curve}/step": step})
        run.summary.update(dict(entry.metrics))
        files = Path(run.dir)
        run.finish(exit_code=0 if entry.succeeded else 1)
        write_atomic(files.parent / FINGERPRINT, entry.fingerprint.encode())
