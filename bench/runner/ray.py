"""The Ray executor: a unit is a task; its threads are the task's CPUs.

Ray's own retries are off (`max_retries=0`); a dead worker, an out-of-memory kill or a hang comes
back as an outcome, and the policy decides.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, TaskCancelledError, WorkerCrashedError

from bench.errors import BenchError
from bench.plugins import user_folders
from bench.runner.executors import PATIENCE
from bench.runner.work import Failure, Order, Outcome, work

OBJECT_STORE_BYTES = 128 * 2**20  # only keys and plain values travel
ROUNDING = 1e-6  # shares of a GPU are sums of fractions
LOOK_EVERY = 0.5  # seconds between looks at the clock while waiting


class RayExecutor:
    """Runs units as Ray tasks on this machine, or on a cluster.

    Args:
        address: A running cluster's address; None starts Ray here for this run.
        time_limit: Seconds that a unit may take; None for no limit.
        num_cpus: CPUs that Ray may use here; None for all of them.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        time_limit: float | None = None,
        num_cpus: int | None = None,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local: dict[str, Any] = {
            "num_cpus": num_cpus or len(os.sched_getaffinity(0)),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        # Absolute, since a worker's working folder is Ray's affair.
        folders = os.pathsep.join(map(str, user_folders()))
        carried = {name: os.environ.get(name, value) for name, value in PATIENCE.items()}
        carried |= {"BENCH_PATH": folders} if folders else {}
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": carried},
                **(local if address is None else {}),
            )
        except (ConnectionError, RuntimeError) as error:
            raise BenchError(f"Ray could not start: {error}.", "Try --executor inline.") from error
        self._task = ray.remote(max_retries=0)(work)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self._free = int(resources.get("CPU", 1))
        self._total = self._free
        self._total_gpus = float(resources.get("GPU", 0))
        self._free_gpus = self._total_gpus
        self._time_limit = time_limit
        self._running: dict[Any, tuple[Order, float]] = {}

    def has_room(self, threads: int, gpus: float = 0.0) -> bool:
        """Tell whether enough CPUs are free, and of the GPUs, where there are any."""
        room = self._cpus_for(threads) <= self._free
        return room and self._gpus_for(gpus) <= self._free_gpus + ROUNDING

    def _cpus_for(self, threads: int) -> int:
        """Return what a unit is given: more threads than CPUs share those that there are."""
        return min(threads, self._total)

    def _gpus_for(self, asked: float) -> float:
        """Return what a unit is given: on machines without GPUs nothing is asked for."""
        return min(asked, self._total_gpus)

    def submit(self, given: Order) -> None:
        """Start the task."""
        cpus, gpus = self._cpus_for(given.threads), self._gpus_for(given.gpus)
        task = self._task.options(num_cpus=cpus, num_gpus=gpus).remote(given)
        self._free -= cpus
        self._free_gpus -= gpus
        self._running[task] = (given, time.monotonic())

    def wait(self) -> list[Outcome]:
        """Wait for the first tasks to end, or for one to outlast its limit."""
        while True:
            ended, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOK_EVERY)
            outcomes = [self._outcome(task) for task in ended]
            outcomes += [self._stop(task) for task in self._late()]
            if outcomes:
                return outcomes

    def interrupt(self) -> list[Outcome]:
        """Cancel what runs; what had ended by itself is still returned."""
        ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        outcomes = [self._outcome(task) for task in ended]
        for task in self._running:
            ray.cancel(task, force=True)
        self._running.clear()
        return outcomes

    def close(self) -> None:
        """Leave Ray, and stop it where this run started it."""
        ray.shutdown()

    def _late(self) -> list[Any]:
        if self._time_limit is None:
            return []
        limit = time.monotonic() - self._time_limit
        return [task for task, (_, started) in self._running.items() if started < limit]

    def _stop(self, task: Any) -> Outcome:
        ray.cancel(task, force=True)
        given = self._release(task)
        message = f"It ran longer than the limit of {self._time_limit:g} s and was stopped."
        return Outcome(unit=given.unit, failure="timeout", message=message)

    def _release(self, task: Any) -> Order:
        given, _ = self._running.pop(task)
        self._free += self._cpus_for(given.threads)
        self._free_gpus += self._gpus_for(given.gpus)
        return given

    def _outcome(self, task: Any) -> Outcome:
        given = self._release(task)
        try:
            outcome: Outcome = ray.get(task)
        except OutOfMemoryError as error:
            return _lost(given, "out of memory", f"The machine ran out of memory: {error}")
        except (WorkerCrashedError, TaskCancelledError) as error:
            return _lost(given, "worker died", f"Its worker process died ({type(error).__name__}).")
        except RayError as error:
            return _lost(
                given, "worker died", f"Ray lost the task: {type(error).__name__}: {error}"
            )
        return outcome


def _lost(given: Order, failure: Failure, message: str) -> Outcome:
    return Outcome(unit=given.unit, failure=failure, message=message.split("\n")[0])
