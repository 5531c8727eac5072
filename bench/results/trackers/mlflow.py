"""MLflow: one run per trial in the experiment `llmrec-bench` (or $MLFLOW_EXPERIMENT_NAME).

The server is --log-to's, else $MLFLOW_TRACKING_URI, else the database `mlflow.db`.
A run is found by its tag `bench.trial`. An unchanged result is not written again; the run of a
changed one, or an incomplete run, is deleted (into MLflow's own trash) and written again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.results.trackers.entry import TrialEntry, spell_names

LIBRARY = "mlflow"
EXPERIMENT = "llmrec-bench"
TRIAL, FINGERPRINT = "bench.trial", "bench.fingerprint"
MAX_METRICS, MAX_PARAMS = 1000, 100  # MLflow's limits per request
MAX_LENGTH = 5000
DEFAULTS = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",  # for live curves
    "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # by default MLflow retries for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def make_environment(target: str | None, *, offline: bool) -> dict[str, str]:
    """Return the environment variables that select server and experiment.

    Raises:
        BenchError: The server needs the network, which must not be used.
    """
    default = f"sqlite:///{Path('mlflow.db').absolute()}"
    uri = target or os.environ.get("MLFLOW_TRACKING_URI") or default
    if offline and urlsplit(uri).scheme not in ("", "file", "sqlite"):
        raise BenchError("The tracking server needs the network, and --offline forbids it.")
    variables = {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}
    return {**variables, "MLFLOW_TRACKING_URI": uri}


class Tracker:
    """Writes runs to a tracking server, a database or a folder."""

    def __init__(self, library: Any) -> None:
        self._client = library.MlflowClient()
        self._entities = library.entities
        name = os.environ["MLFLOW_EXPERIMENT_NAME"]
        experiment = self._client.get_experiment_by_name(name)
        self._experiment = (
            self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        )

    def log(self, entry: TrialEntry) -> None:
        """Write a run, unless it is up to date."""
        trial = entry.trial.replace("'", "\\'")
        for run in self._client.search_runs([self._experiment], f"tags.`{TRIAL}` = '{trial}'"):
            if run.data.tags.get(FINGERPRINT) == entry.fingerprint:
                return
            self._client.delete_run(run.info.run_id)
        names = spell_names(entry.tags)
        tags = {
            TRIAL: entry.trial,
            "mlflow.runName": entry.trial,
            **{names[name]: text[:MAX_LENGTH] for name, text in entry.tags.items()},
        }
        run = self._client.create_run(self._experiment, tags=tags)
        self._write(run.info.run_id, entry)
        # The fingerprint comes last: a run without it is incomplete.
        self._client.set_tag(run.info.run_id, FINGERPRINT, entry.fingerprint, synchronous=True)
        self._client.set_terminated(run.info.run_id, "FINISHED" if entry.succeeded else "FAILED")

    def _write(self, run: str, entry: TrialEntry) -> None:
        now = int(time.time() * 1000)
        curves = {name: [(0, value)] for name, value in entry.metrics.items()} | dict(entry.curves)
        names = spell_names(curves)
        metrics = [
            self._entities.Metric(names[name], value, now, step)
            for name, points in curves.items()
            for step, value in points
        ]
        params = [
            self._entities.Param(name, str(value)[:MAX_LENGTH])
            for name, value in entry.settings.items()
        ]
        batches = [("metrics", metrics, MAX_METRICS), ("params", params, MAX_PARAMS)]
        for kind, values, size in batches:
            for start in range(0, len(values), size):
                batch = {kind: values[start : start + size]}
                self._client.log_batch(run, **batch, synchronous=True)
