"""MLflow: one run per trial in the experiment `llmrec-bench` (or $MLFLOW_EXPERIMENT_NAME).

A run is found by its tag `bench.trial`. An unchanged result is not written again; the run of a
changed one, or an incomplete run, is deleted (into MLflow's own trash) and written again.
"""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.results.trackers.entry import TrialEntry, spell_names

LIBRARY = "mlflow"
EXPERIMENT = "llmrec-bench"
TRIAL, FINGERPRINT = "bench.trial", "bench.fingerprint"
TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""By default MLflow retries for minutes where a server does not answer."""

LIVE = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
MAX_METRICS, MAX_PARAMS = 1000, 100  # MLflow's limits per request
MAX_LENGTH = 5000
_LOCAL = ("", "file", "sqlite")


def make_live_environment(target: str | None, *, offline: bool) -> dict[str, str]:
    """Return where transformers' callback logs; empty without a server, or if it is off limits."""
    uri = target or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or (offline and not _is_local(uri)):
        return {}
    return {**LIVE, "MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": _get_experiment()}


def _is_local(uri: str) -> bool:
    return urlsplit(uri).scheme in _LOCAL


def _get_experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


class Tracker:
    """Writes runs to a tracking server, a database or a folder.

    Args:
        library: The module `mlflow`.
        target: Its tracking URI; $MLFLOW_TRACKING_URI, or MLflow's own choice, if None.
        offline: Whether the network must not be touched.

    Raises:
        BenchError: If the tracking URI needs the network and that must not be touched.
    """

    def __init__(self, library: Any, target: str | None, *, offline: bool) -> None:
        for name, value in TIMEOUTS.items():
            os.environ.setdefault(name, value)
        uri = target or library.get_tracking_uri()
        if offline and not _is_local(uri):
            raise BenchError("The tracking server needs the network, and --offline forbids it.")
        self._client = library.MlflowClient(tracking_uri=uri)
        self._entities = library.entities
        name = _get_experiment()
        experiment = self._client.get_experiment_by_name(name)
        self._experiment = (
            self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        )

    def log(self, entry: TrialEntry) -> None:
        """Write a run, unless it is up to date."""
        for run in self._runs(entry.trial):
            if run.data.tags.get(FINGERPRINT) == entry.fingerprint:
                return
            self._client.delete_run(run.info.run_id)
        tag_names = spell_names(entry.tags)
        tags = {
            TRIAL: entry.trial,
            "mlflow.runName": entry.trial,
            **{tag_names[name]: text[:MAX_LENGTH] for name, text in entry.tags.items()},
        }
        run = self._client.create_run(self._experiment, tags=tags)
        self._write(run.info.run_id, entry)
        # The fingerprint comes last: a run without it is incomplete.
        self._client.set_tag(run.info.run_id, FINGERPRINT, entry.fingerprint)
        self._client.set_terminated(run.info.run_id, "FINISHED" if entry.succeeded else "FAILED")

    def _runs(self, trial: str) -> list[Any]:
        quoted = trial.replace("'", "\\'")
        return list(self._client.search_runs([self._experiment], f"tags.`{TRIAL}` = '{quoted}'"))

    def _write(self, run: str, entry: TrialEntry) -> None:
        now = int(time.time() * 1000)
        numbers = {name: [(0, value)] for name, value in entry.metrics.items()} | dict(entry.curves)
        names = spell_names(numbers)
        metrics = [
            self._entities.Metric(names[name], value, now, step)
            for name, points in numbers.items()
            for step, value in points
        ]
        params = [
            self._entities.Param(name, str(value)[:MAX_LENGTH])
            for name, value in entry.settings.items()
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(run, metrics=metrics[start : start + MAX_METRICS])
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(run, params=params[start : start + MAX_PARAMS])
