"""MLflow: a run a trial in the experiment `llmrec-bench` (or $MLFLOW_EXPERIMENT_NAME).

A run is found again by its tag `bench.trial`. The same result makes no second run; the run of a
result that changed, or that was cut short, is deleted (into MLflow's own bin) and written anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.results.trackers.entry import Entry, valid_name, valid_names

LIBRARY = "mlflow"
EXPERIMENT = "llmrec-bench"
TRIAL, FINGERPRINT = "bench.trial", "bench.fingerprint"
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is away is given up soon; by default MLflow tries for minutes."""

MOST = {"metrics": 1000, "params": 100, "tags": 100}
"""Of each kind in one request, as MLflow limits them."""

LONGEST = 5000
_LOCAL = ("", "file", "sqlite")


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
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        uri = target or library.get_tracking_uri()
        if offline and urlsplit(uri).scheme not in _LOCAL:
            raise BenchError("The tracking server needs the network, and --offline forbids it.")
        self._client = library.MlflowClient(tracking_uri=uri)
        self._entities = library.entities
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        self._experiment = (
            self._client.create_experiment(name) if found is None else found.experiment_id
        )

    def log(self, entry: Entry) -> None:
        """Write a run, unless it stands there as it is."""
        for run in self._runs(entry.trial):
            if run.data.tags.get(FINGERPRINT) == entry.fingerprint:
                return
            self._client.delete_run(run.info.run_id)
        tags = {
            TRIAL: entry.trial,
            "mlflow.runName": entry.trial,
            **{valid_name(name): text[:LONGEST] for name, text in entry.tags.items()},
        }
        run = self._client.create_run(self._experiment, tags=tags)
        self._write(run.info.run_id, entry)
        # The mark comes last: a run without it was cut short.
        self._client.set_tag(run.info.run_id, FINGERPRINT, entry.fingerprint)
        self._client.set_terminated(run.info.run_id, "FINISHED" if entry.ended_well else "FAILED")

    def _runs(self, trial: str) -> list[Any]:
        quoted = trial.replace("'", "\\'")
        return list(self._client.search_runs([self._experiment], f"tags.`{TRIAL}` = '{quoted}'"))

    def _write(self, run: str, entry: Entry) -> None:
        now = int(time.time() * 1000)
        numbers = {name: [(0, value)] for name, value in entry.metrics.items()} | dict(entry.curves)
        names = valid_names(numbers)
        metrics = [
            self._entities.Metric(names[name], value, now, step)
            for name, points in numbers.items()
            for step, value in points
        ]
        params = [
            self._entities.Param(name, str(value)[:LONGEST])
            for name, value in entry.settings.items()
        ]
        for some in _batches(metrics, MOST["metrics"]):
            self._client.log_batch(run, metrics=some)
        for some in _batches(params, MOST["params"]):
            self._client.log_batch(run, params=some)


def _batches(found: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [found[start : start + most] for start in range(0, len(found), most)]
