"""The Ray executor: a unit is a task; its threads are the task's CPUs.

Ray's own retries are off (`max_retries=0`); a dead worker or node, an out-of-memory kill or a hang
comes back as an outcome, and the policy decides. Nodes may come and go while it runs.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, TaskCancelledError, WorkerCrashedError

from bench.config.search_path import user_folders
from bench.errors import BenchError
from bench.runner.executors import PATIENCE
from bench.runner.worker import Failure, Order, Outcome, has_begun, work

OBJECT_STORE_BYTES = 128 * 2**20  # only keys and plain values travel
ROUNDING = 1e-6  # shares of a GPU are sums of fractions
LOOK_EVERY = 0.5  # seconds between looks at the clock while waiting
COUNT_EVERY = 2.0  # seconds between looks at the cluster's nodes
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What there is, or what is asked for."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory_mib: float = 0.0

    def __add__(self, other: Capacity) -> Capacity:
        return Capacity(
            cpus=self.cpus + other.cpus,
            gpus=self.gpus + other.gpus,
            memory_mib=self.memory_mib + other.memory_mib,
        )

    def __sub__(self, other: Capacity) -> Capacity:
        return Capacity(
            cpus=self.cpus - other.cpus,
            gpus=self.gpus - other.gpus,
            memory_mib=self.memory_mib - other.memory_mib,
        )

    def within(self, other: Capacity) -> bool:
        """Tell whether it is no more than another."""
        rest = other - self
        return min(rest.cpus, rest.gpus, rest.memory_mib) > -ROUNDING


NOTHING = Capacity()


@dataclass(kw_only=True)
class Running:
    """A task: what was ordered, what it was given, when its worker was first seen at it."""

    order: Order
    given: Capacity
    since: float | None = None


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
        except Exception as error:  # Ray has none of its own here; a start-up timeout is a bare one
            raise BenchError(f"Ray could not start: {error}.", "Try --executor inline.") from error
        self._task = ray.remote(max_retries=0)(work)
        self._time_limit = time_limit
        self._running: dict[Any, Running] = {}
        self._used = NOTHING
        self._count()

    def has_room(self, threads: int, gpus: float = 0.0, memory_mib: float = 0.0) -> bool:
        """Tell whether enough is free of the cluster's CPUs, GPUs and memory."""
        if time.monotonic() > self._counted + COUNT_EVERY:
            self._count()
        asked = self._given(threads, gpus, memory_mib)
        return (self._used + asked).within(self._total)

    def _count(self) -> None:
        """Look what the nodes have that are there now: in all, and the most that one has."""
        nodes = [
            Capacity(
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
                memory_mib=node["Resources"].get("memory", 0.0) / MIB,
            )
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]
        self._counted = time.monotonic()
        self._total = sum(nodes, start=NOTHING)
        self._most = Capacity(
            cpus=max((node.cpus for node in nodes), default=0.0),
            gpus=max((node.gpus for node in nodes), default=0.0),
            memory_mib=max((node.memory_mib for node in nodes), default=0.0),
        )

    def _given(self, threads: int, gpus: float, memory_mib: float) -> Capacity:
        """Return what a unit is given, so that some node can hold it.

        More threads than a node has CPUs share those; without GPUs none is asked for.
        """
        return Capacity(
            cpus=max(1.0, min(float(threads), self._most.cpus)),
            gpus=min(gpus, self._most.gpus),
            memory_mib=min(memory_mib, self._most.memory_mib),
        )

    def submit(self, given: Order) -> None:
        """Start the task."""
        share = self._given(given.threads, given.gpus, given.memory_mib)
        options = {
            "num_cpus": share.cpus,
            "num_gpus": share.gpus,
            "memory": int(share.memory_mib * MIB) or None,
        }
        task = self._task.options(**options).remote(given)
        self._used += share
        self._running[task] = Running(order=given, given=share)

    def wait(self) -> list[Outcome]:
        """Wait a moment for tasks to end, or for one to outlast its limit."""
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOK_EVERY)
        return [self._outcome(task) for task in ended] + [self._stop(task) for task in self._late()]

    def cancel(self, unit: str) -> None:
        """Stop one task at once."""
        for task in [task for task, one in self._running.items() if one.order.unit == unit]:
            ray.cancel(task, force=True)
            self._release(task)

    def interrupt(self) -> list[Outcome]:
        """Cancel what runs; what had ended by itself is still returned."""
        tasks = list(self._running)
        ended = ray.wait(tasks, num_returns=len(tasks), timeout=0)[0] if tasks else []
        outcomes = [self._outcome(task) for task in ended]
        for task in self._running:
            ray.cancel(task, force=True)
        self._running.clear()
        return outcomes

    def close(self) -> None:
        """Leave Ray, and stop it where this run started it."""
        ray.shutdown()

    def _late(self) -> list[Any]:
        """Return the tasks that ran too long since their worker began, not since their order."""
        if self._time_limit is None:
            return []
        now = time.monotonic()
        for one in self._running.values():
            if one.since is None and has_begun(one.order):
                one.since = now
        limit = now - self._time_limit
        return [task for task, one in self._running.items() if (one.since or now) < limit]

    def _stop(self, task: Any) -> Outcome:
        ray.cancel(task, force=True)
        given = self._release(task)
        message = f"It ran longer than the limit of {self._time_limit:g} s and was stopped."
        return Outcome(unit=given.unit, failure="timeout", message=message)

    def _release(self, task: Any) -> Order:
        one = self._running.pop(task)
        self._used -= one.given
        return one.order

    def _outcome(self, task: Any) -> Outcome:
        given = self._release(task)
        try:
            outcome: Outcome = ray.get(task)
        except OutOfMemoryError as error:
            return _lost(given, "out of memory", f"The machine ran out of memory: {error}")
        except (WorkerCrashedError, TaskCancelledError) as error:
            return _lost(given, "worker died", f"Its worker process died ({type(error).__name__}).")
        except RayError as error:
            cause = str(error).strip().rsplit("\n", 1)[-1]  # after the worker's own traceback
            kind = type(error).__name__
            return _lost(given, "worker died", f"Ray lost the task: {kind}: {cause}")
        return outcome


def _lost(given: Order, failure: Failure, message: str) -> Outcome:
    return Outcome(unit=given.unit, failure=failure, message=message.split("\n")[0])
