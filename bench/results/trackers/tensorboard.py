"""TensorBoard: a folder of event files a trial, named by the trial's id.

    <folder>/<dataset>/<method>/<hash>/seed-<n>/events.out.tfevents.*
    <folder>/<dataset>/<method>/<hash>/seed-<n>/fingerprint            of what was written

The same result again writes nothing; a result that changed takes the place of the old files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.files import write_whole
from bench.results.trackers.entry import Entry, valid_names

LIBRARY = "tensorboardX"
FOLDER = "runs"
MARK = "fingerprint"


class Tracker:
    """Writes event files.

    Args:
        library: The module `tensorboardX`.
        target: Folder of the event files; `runs` if None.
        offline: Makes no difference: only files are written.
    """

    def __init__(self, library: Any, target: str | None, *, offline: bool) -> None:
        self._library = library
        self._folder = Path(target or FOLDER)

    def log(self, entry: Entry) -> None:
        """Write a trial's settings, metrics and curves."""
        folder = self._folder / entry.trial
        mark = folder / MARK
        if mark.is_file() and mark.read_text() == entry.fingerprint:
            return
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        names = valid_names([*entry.curves, *entry.metrics])
        # The table below opens a file of its own, which must not be this one.
        with self._library.SummaryWriter(str(folder), filename_suffix=".trial") as writer:
            for name, points in entry.curves.items():
                for step, value in points:
                    writer.add_scalar(names[name], value, step)
            for name, text in entry.tags.items():
                writer.add_text(name, text)
            # The point keeps the table of settings and metrics in the trial's own folder.
            metrics = {names[name]: value for name, value in entry.metrics.items()}
            writer.add_hparams(dict(entry.settings), metrics, name=".", global_step=0)
        write_whole(mark, entry.fingerprint.encode())
