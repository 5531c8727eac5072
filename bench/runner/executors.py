"""The executor interface, and the executor that runs tasks in this process.

Both executors pass the same contract tests. `submit` takes a task whose inputs are in the store;
`wait` returns results, or nothing after a short time without one; failures are results, not
exceptions.
"""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Protocol

from bench.errors import BenchError
from bench.foreign_code import limit_time
from bench.runner.resources import ResourceRequest
from bench.runner.worker import TaskResult, TaskSpec, run_task

THREAD_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "1000",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}
"""GOMP_SPINCOUNT makes waiting threads sleep early. By default they spin, which slows other
processes down where cores are shared: two on two cores took 16.6 s each, and 5.7 s with this; one
alone 2.0 s. PYTORCH_ALLOC_CONF lets segments of GPU memory grow, so that batches of changing shapes
leave no gaps."""


def set_thread_environment() -> None:
    """Set `THREAD_ENVIRONMENT` unless the user did; effective only before torch is imported."""
    for name, value in THREAD_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class ExecutorLostError(BenchError):
    """What the tasks ran on has died, so that none can start."""

    exit_code = 1


class Executor(Protocol):
    """Runs tasks; every function raises `ExecutorLostError` if that has become impossible."""

    def has_capacity(self, request: ResourceRequest) -> bool:
        """Return whether a task with this request would start now."""

    def submit(self, task: TaskSpec) -> None:
        """Start a task."""

    def wait(self) -> list[TaskResult]:
        """Wait briefly for tasks to end and return their results."""

    def cancel(self, unit: str) -> None:
        """Stop the task of a unit; `wait` returns no result of it."""

    def close(self) -> list[TaskResult]:
        """Stop all tasks, release resources, and return results not yet returned by `wait`."""


class InlineExecutor:
    """Runs one task at a time in this process, for debugging and tests.

    Its time limits cannot stop C code.
    """

    def __init__(self) -> None:
        self._task: TaskSpec | None = None

    def has_capacity(self, request: ResourceRequest) -> bool:
        """Return whether no task is waiting to run."""
        del request
        return self._task is None

    def submit(self, task: TaskSpec) -> None:
        """Keep the task for `wait`; it gets whole GPUs, since nothing else runs."""
        whole_gpus = dataclasses.replace(task.resources, gpus=float(math.ceil(task.resources.gpus)))
        self._task = dataclasses.replace(task, resources=whole_gpus)

    def wait(self) -> list[TaskResult]:
        """Run the submitted task."""
        task, self._task = self._task, None
        assert task is not None, "wait() without a submitted task"
        with limit_time(task.time_limit):
            return [run_task(task)]

    def cancel(self, unit: str) -> None:
        """Drop a task that has not started; one that runs here cannot be stopped from here."""
        if self._task is not None and self._task.unit == unit:
            self._task = None

    def close(self) -> list[TaskResult]:
        """Drop the task that has not started."""
        self._task = None
        return []
