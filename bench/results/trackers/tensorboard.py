"""TensorBoard: one folder of event files per trial.

    <folder>/<trial>/events.out.tfevents.*
    <folder>/<trial>/fingerprint            of the reported result
    <folder>/live/<stage>/                  live training curves of a stage

A result with the same fingerprint is not written again; a changed one replaces the old files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.results.trackers.entry import TrialEntry, spell_names

LIBRARY = "tensorboardX"
FOLDER = "TENSORBOARD_LOGGING_DIR"
DEFAULT_FOLDER = "runs"
FINGERPRINT = "fingerprint"


def make_environment(target: str | None, *, offline: bool) -> dict[str, str]:
    """Return the environment variable that names the folder of the event files."""
    del offline  # only files are written
    return {FOLDER: str(Path(target or DEFAULT_FOLDER).absolute())}


class Tracker:
    """Writes event files."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def log(self, entry: TrialEntry) -> None:
        """Write a trial's settings, metrics and curves, unless they are up to date."""
        folder = Path(os.environ[FOLDER]) / entry.trial
        fingerprint = folder / FINGERPRINT
        if fingerprint.is_file() and fingerprint.read_text() == entry.fingerprint:
            return
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        names = spell_names([*entry.curves, *entry.metrics])
        # add_hparams opens a second file, which must have another name.
        with self._library.SummaryWriter(str(folder), filename_suffix=".trial") as writer:
            for name, points in entry.curves.items():
                for step, value in points:
                    writer.add_scalar(names[name], value, step)
            for name, text in entry.tags.items():
                writer.add_text(name, text)
            # name="." keeps the table of settings and metrics in the trial's folder.
            metrics = {names[name]: value for name, value in entry.metrics.items()}
            writer.add_hparams(dict(entry.settings), metrics, name=".", global_step=0)
        write_atomic(fingerprint, entry.fingerprint.encode())
