"""Looks as trials of Ray Tune: a searcher that asks the book, a trainable that does the work."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from bench.runner.retry_policy import MAX_WORKER_DEATHS
from bench.runner.worker import TaskResult
from bench.tuning.asha import Look
from bench.tuning.search_state import Book
from bench.tuning.work import Say, carry_out


class BookSearcher(Searcher):
    """Hands Tune the looks that can be made, and the book what became of them."""

    def __init__(self, book: Book, say: Say, time_limit: float | None) -> None:
        super().__init__()
        self._book, self._say, self._time_limit = book, say, time_limit
        self._running: dict[str, Look] = {}

    # Tune's own annotation leaves out the word that ends a search.
    def suggest(  # type: ignore[override]
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """Return the next look's work; None while there is none, "FINISHED" at the end."""
        busy = set(self._running.values())
        free = [look for look in self._book.ready() if look not in busy]
        if not free:
            return None if busy else str(Searcher.FINISHED)
        self._running[trial_id] = free[0]
        return {"task": self._book.order(free[0]), "time_limit": self._time_limit}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Enter what became of a look."""
        look = self._running.pop(trial_id)
        if error or result is None or "outcomes" not in result:
            trial = self._book.search.trials[look]
            lost = TaskResult(
                unit=trial.id, failure="worker died", message="Its worker process died."
            )
            self._book.take(look, [lost])
        else:
            self._book.take(look, [TaskResult(**one) for one in json.loads(result["outcomes"])])
        self._say(look)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store has all."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a search goes on from the store."""


class Trainable(tune.Trainable):
    """Does a look's work, in one step."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the work."""
        self._given = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next work, so that a worker imports and loads once only."""
        self._given = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Do the work; failures are outcomes, not exceptions."""
        outcomes = carry_out(self._given["task"], self._given["time_limit"])
        told = [dataclasses.asdict(outcome) for outcome in outcomes]
        return {"outcomes": json.dumps(told), "done": True}


def fit(
    book: Book, *, say: Say, folder: Path, time_limit: float | None, threads: int, gpus: float
) -> None:
    """Let Tune work off a book; Ray is running.

    Args:
        book: The search's.
        say: Called after each look.
        folder: Where Tune keeps its state.
        time_limit: Seconds for one look.
        threads: CPUs of a look, or all where there are fewer.
        gpus: Share of a GPU of a look, where there is one.
    """
    machine = ray.cluster_resources()  # type: ignore[no-untyped-call]
    share = {"cpu": float(min(threads, int(machine.get("CPU", 1))))}
    if machine.get("GPU", 0):
        share["gpu"] = min(gpus, machine["GPU"])
    tuner = tune.Tuner(
        tune.with_resources(Trainable, share),
        tune_config=tune.TuneConfig(
            search_alg=BookSearcher(book, say, time_limit),
            num_samples=len(book.search.trials),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,  # else the whole work is its name
        ),
        run_config=tune.RunConfig(
            name="looks",
            storage_path=str(folder.absolute()),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
        ),
    )
    tuner.fit()
