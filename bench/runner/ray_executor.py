"""The Ray executor: each task is a Ray task that requests CPUs, a GPU fraction and memory.

Ray's own retries are off (`max_retries=0`): a dead worker or node, an out-of-memory kill or a
timeout comes back as a result, and the retry policy decides. Nodes may join and leave.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayError, TaskCancelledError, WorkerCrashedError

from bench.config.search_path import user_folders
from bench.errors import BenchError
from bench.runner.executors import THREAD_ENVIRONMENT
from bench.runner.resources import ResourceRequest
from bench.runner.run_directory import get_events_path
from bench.runner.worker import Failure, TaskResult, TaskSpec, run_task

OBJECT_STORE_BYTES = 128 * 2**20  # only keys and plain values are sent
ROUNDING = 1e-6  # GPU fractions are summed
POLL_SECONDS = 0.5
NODE_POLL_SECONDS = 2.0
MIB = 2**20

Capacity: TypeAlias = np.ndarray
"""CPUs, GPUs and memory in MiB; shape (3,)."""


@dataclass(kw_only=True)
class RunningTask:
    """A submitted task, what it occupies, and when its worker was first seen to have started."""

    spec: TaskSpec
    occupied: Capacity
    started: float | None = None


class RayExecutor:
    """Runs units as Ray tasks on this machine or on a cluster.

    Args:
        address: A running cluster's address; None starts Ray here for this run.
        time_limit: Seconds that a task may take; None for no limit.
        num_cpus: CPUs that Ray may use here; None for all of them.

    Raises:
        BenchError: Ray cannot start.
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
        # Absolute paths, since Ray chooses a worker's working folder.
        folders = os.pathsep.join(map(str, user_folders()))
        env_vars = {name: os.environ.get(name, value) for name, value in THREAD_ENVIRONMENT.items()}
        env_vars |= {"BENCH_PATH": folders} if folders else {}
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": env_vars},
                **(local if address is None else {}),
            )
        except Exception as error:  # Ray raises a bare one where starting takes too long
            raise BenchError(f"Ray could not start: {error}.", "Try --executor inline.") from error
        self._run_task = ray.remote(max_retries=0)(run_task)
        self._time_limit = time_limit
        self._running: dict[Any, RunningTask] = {}
        self._count_nodes()

    def has_capacity(self, request: ResourceRequest) -> bool:
        """Return whether enough of the cluster's CPUs, GPUs and memory is free."""
        if time.monotonic() > self._counted + NODE_POLL_SECONDS:
            self._count_nodes()
        occupied = sum((task.occupied for task in self._running.values()), start=np.zeros(3))
        return bool(np.all(occupied + self._fit_to_node(request) <= self._total + ROUNDING))

    def _count_nodes(self) -> None:
        """Read what the live nodes have in all, and the most that one of them has."""
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        nodes = np.array(
            [[node.get("CPU", 0), node.get("GPU", 0), node.get("memory", 0) / MIB]
             for node in resources]
        ).reshape(-1, 3)  # fmt: skip
        self._counted = time.monotonic()
        self._total: Capacity = nodes.sum(axis=0)
        self._largest: Capacity = nodes.max(axis=0, initial=0.0)

    def _fit_to_node(self, request: ResourceRequest) -> Capacity:
        """Reduce a request to what some node has: excess threads share its CPUs."""
        wanted = np.array([request.threads, request.gpus, request.memory_mib], dtype=float)
        fitted: Capacity = np.minimum(wanted, self._largest)
        fitted[0] = max(1.0, fitted[0])
        return fitted

    def submit(self, task: TaskSpec) -> None:
        """Start the Ray task."""
        occupied = self._fit_to_node(task.resources)
        cpus, gpus, memory_mib = occupied.tolist()
        options = {"num_cpus": cpus, "num_gpus": gpus, "memory": int(memory_mib * MIB) or None}
        reference = self._run_task.options(**options).remote(task)
        self._running[reference] = RunningTask(spec=task, occupied=occupied)

    def wait(self) -> list[TaskResult]:
        """Wait briefly for tasks to end or to exceed the time limit."""
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_SECONDS)
        results = [self._collect(reference) for reference in ended]
        for reference in self._find_late():
            spec = self._stop(reference)
            message = f"It ran longer than the limit of {self._time_limit:g} s and was stopped."
            results.append(TaskResult(unit=spec.unit, failure="timeout", message=message))
        return results

    def cancel(self, unit: str) -> None:
        """Kill the worker of a unit."""
        for reference, task in list(self._running.items()):
            if task.spec.unit == unit:
                self._stop(reference)

    def close(self) -> list[TaskResult]:
        """Return what has ended, kill the rest, and leave Ray; stop it if this run started it."""
        results = []
        for reference in list(self._running):
            if ray.wait([reference], timeout=0)[0]:
                results.append(self._collect(reference))
            else:
                self._stop(reference)
        ray.shutdown()
        return results

    def _find_late(self) -> list[Any]:
        """Return tasks over the time limit, which counts from the start of the worker."""
        if self._time_limit is None:
            return []
        now = time.monotonic()
        for task in self._running.values():
            directory = task.spec.run_directory
            # A submitted task may wait for a node; a worker that has begun writes events.
            if task.started is None and (
                directory is None or get_events_path(directory, task.spec.unit).is_file()
            ):
                task.started = now
        limit = now - self._time_limit
        return [key for key, task in self._running.items() if (task.started or now) < limit]

    def _stop(self, reference: Any) -> TaskSpec:
        ray.cancel(reference, force=True)
        return self._running.pop(reference).spec

    def _collect(self, reference: Any) -> TaskResult:
        unit = self._running.pop(reference).spec.unit
        failure: Failure = "worker died"
        try:
            result: TaskResult = ray.get(reference)
            return result
        except OutOfMemoryError as error:
            failure, message = "out of memory", f"The machine ran out of memory: {error}"
        except (WorkerCrashedError, TaskCancelledError) as error:
            message = f"Its worker process died ({type(error).__name__})."
        except RayError as error:
            cause = str(error).strip().rsplit("\n", 1)[-1]  # after the worker's own traceback
            message = f"Ray lost the task: {type(error).__name__}: {cause}"
        return TaskResult(unit=unit, failure=failure, message=message.split("\n")[0])
