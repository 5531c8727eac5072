"""The Ray executor: slots on this machine or on a cluster, driven from a watched process."""

from __future__ import annotations

import contextlib
from typing import Any, Unpack

from bench.errors import BenchError
from bench.runner.executors import ExecutorLostError
from bench.runner.ray_process import RayOptions, RayProcess
from bench.runner.resources import ResourceRequest
from bench.runner.worker import TaskResult, TaskSpec

MAX_RESTARTS = 1
SLOTS = "bench.runner.ray_slots:SlotExecutor"


class RayExecutor:
    """Runs units in slots. A Ray that was started here and died is started again once.

    Raises:
        BenchError: Ray cannot start.
    """

    def __init__(self, **options: Unpack[RayOptions]) -> None:
        self._options = options
        self._running: dict[str, TaskSpec] = {}
        self._results: list[TaskResult] = []  # of tasks that a lost Ray ran
        self._num_restarts = 0
        self._process: RayProcess | None = None
        self.has_capacity(ResourceRequest(threads=1))

    def has_capacity(self, request: ResourceRequest) -> bool:
        """Return whether enough of the cluster's CPUs, GPUs and memory is free or in idle slots."""
        return bool(self._call("has_capacity", request))

    def submit(self, task: TaskSpec) -> None:
        """Give a task to an idle slot, preferably one that has its backbone, or to a new slot."""
        self._call("submit", task)
        self._running[task.unit] = task

    def wait(self) -> list[TaskResult]:
        """Wait briefly for tasks to end or to exceed their time limits."""
        results = self._call("wait")
        results, self._results = [*self._results, *results], []
        for result in results:
            self._running.pop(result.unit, None)
        return results

    def cancel(self, unit: str) -> None:
        """Kill the slot that works on a unit."""
        self._running.pop(unit, None)
        self._call("cancel", unit)

    def close(self) -> list[TaskResult]:
        """Return what has ended, kill the rest, and leave Ray; stop it if this run started it."""
        results, self._results = self._results, []
        process, self._process = self._process, None
        if process is None:
            return results
        with contextlib.suppress(BenchError):
            results += process.call("stop")
        for value in process.unread:
            results += value if isinstance(value, list) else []
        process.end()
        return results

    def _call(self, method: str, *args: Any) -> Any:
        """Call a method of the slots; what a lost Ray ran comes back as worker deaths.

        Raises:
            ExecutorLostError: Ray was lost before, or it is a cluster.
        """
        while True:
            try:
                if self._process is None:
                    self._process = RayProcess(SLOTS, **self._options)
                return self._process.call(method, *args)
            except ExecutorLostError as error:
                self._results += [
                    task.fail("worker died", error.message) for task in self._running.values()
                ]
                self._running.clear()
                if self._process is not None:
                    self._process.end(seconds=0)
                    self._process = None
                if self._options.get("address") is not None or self._num_restarts == MAX_RESTARTS:
                    raise
                self._num_restarts += 1
