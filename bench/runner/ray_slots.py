"""Units run in slots, each a process of its own that stays on its device.

A slot is a Ray actor with fixed CPUs, memory, and a GPU or 1/n of one. CUDA reads once which GPUs
a process may use, so a slot never changes its GPU, and keeps the backbone that it loaded. A slot
without a task is ended when a slot of another size needs its resources. Ray's own retries are off:
a dead worker or node, an out-of-memory kill or a timeout comes back as a result, and the retry
policy decides. Nodes of a cluster may join and leave.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any, TypeAlias, Unpack

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayError

from bench.runner.executors import ExecutorLostError
from bench.runner.ray_process import RayOptions
from bench.runner.ray_session import RaySession
from bench.runner.resources import ResourceRequest
from bench.runner.run_directory import get_events_path
from bench.runner.worker import Failure, TaskResult, TaskSpec, run_task

ROUNDING = 1e-3  # GPU fractions are summed
POLL_SECONDS = 0.5
NODE_POLL_SECONDS = 2.0
MAX_PENDING_SECONDS = 10.0
MIB = 2**20

Capacity: TypeAlias = np.ndarray
"""CPUs, GPUs and memory in MiB; shape (3,)."""


class Worker:
    """The process of a slot: an actor that runs one task after another on one device."""

    def __init__(self) -> None:
        if not ray.get_gpu_ids():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from an actor without one

    def run(self, task: TaskSpec) -> TaskResult:
        """Run a task, then free the GPU memory that it left cached."""
        try:
            return run_task(task)
        finally:
            torch: Any = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_initialized():
                torch.cuda.empty_cache()


@dataclass(kw_only=True)
class Slot:
    """An actor, and the task that it runs.

    Attributes:
        size: What it occupies for as long as it lives.
        backbone: Key of the backbone that its last task used; "" for none.
        reference: Ray's reference to the result of its task.
        submitted: When it got the task.
        started: When its worker was first seen to work on the task.
        num_ended: Tasks that it has ended.
    """

    actor: Any
    size: Capacity
    backbone: str = ""
    task: TaskSpec | None = None
    reference: Any = None
    submitted: float = 0.0
    started: float | None = None
    num_ended: int = 0

    def run(self, task: TaskSpec) -> None:
        """Start a task."""
        self.task, self.backbone = task, task.backbone
        self.submitted, self.started = time.monotonic(), None
        self.reference = self.actor.run.remote(task)

    def fits(self, size: Capacity) -> bool:
        """Return whether it has exactly these CPUs and GPUs, and at least this memory."""
        return bool(np.all(self.size[:2] == size[:2]) and self.size[2] >= size[2])

    def has_started(self) -> bool:
        """Return whether the worker has begun: a submitted task may wait for a node."""
        assert self.task is not None
        directory = self.task.run_directory
        return directory is None or get_events_path(directory, self.task.unit).is_file()

    def is_late(self) -> bool:
        """Return whether the time limit has passed since the worker was first seen at work."""
        assert self.task is not None
        now = time.monotonic()
        if self.started is None and self.has_started():
            self.started = now
        limit = self.task.time_limit
        return limit is not None and self.started is not None and now - self.started > limit


class SlotExecutor:
    """Runs units in slots on this machine or on a cluster.

    Raises:
        BenchError: Ray cannot start.
    """

    def __init__(self, **options: Unpack[RayOptions]) -> None:
        self._slots: list[Slot] = []
        self._session = RaySession(**options)
        self._count_nodes()

    def has_capacity(self, request: ResourceRequest) -> bool:
        """Return whether enough of the cluster's CPUs, GPUs and memory is free or in idle slots."""
        self._raise_if_lost()
        if not self._session.is_local and time.monotonic() > self._counted + NODE_POLL_SECONDS:
            self._count_nodes()
        busy = [slot.size for slot in self._slots if slot.task is not None]
        return self._has_room([*busy, self._fit_to_node(request)])

    def _has_room(self, sizes: list[Capacity]) -> bool:
        return bool(np.all(np.sum(sizes, axis=0) <= self._total + ROUNDING))

    def _count_nodes(self) -> None:
        """Read what the live nodes have in all, and the most that one of them has."""
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        nodes = np.array(
            [[node.get("CPU", 0), node.get("GPU", 0), node.get("memory", 0) / MIB]
             for node in resources]
        ).reshape(-1, 3)  # fmt: skip
        self._counted = time.monotonic()
        self._num_nodes = len(nodes)
        self._total: Capacity = nodes.sum(axis=0)
        self._largest: Capacity = nodes.max(axis=0, initial=0.0)

    def _fit_to_node(self, request: ResourceRequest) -> Capacity:
        """Return the size of a slot: no more CPUs and memory than some node has.

        Excess threads share CPUs. Memory is rounded up to a power of two, so that few sizes occur.
        A GPU is never left out: such a task waits for a node with one.
        """
        memory_mib = 2.0 ** np.ceil(np.log2(request.memory_mib)) if request.memory_mib else 0.0
        cpus = max(1.0, min(request.threads, self._largest[0]))
        return np.array([cpus, request.gpus, min(memory_mib, self._largest[2])])

    def submit(self, task: TaskSpec) -> None:
        """Give a task to an idle slot, preferably one that has its backbone, or to a new slot."""
        size = self._fit_to_node(task.resources)
        idle = [slot for slot in self._slots if slot.task is None]
        fitting = [slot for slot in idle if slot.fits(size)]
        if fitting:
            slot = max(fitting, key=lambda slot: slot.backbone == task.backbone)
        else:
            for slot in idle:
                # On several nodes it is unknown which slots free resources on the right one.
                if self._num_nodes > 1 or not self._has_room(
                    [s.size for s in self._slots] + [size]
                ):
                    self._end(slot)
            slot = self._start_slot(size)
        slot.run(task)

    def _start_slot(self, size: Capacity) -> Slot:
        cpus, gpus, memory_mib = size.tolist()
        options = {"num_cpus": cpus, "num_gpus": gpus, "memory": int(memory_mib * MIB) or None}
        actor = ray.remote(max_restarts=0)(Worker).options(**options).remote()
        slot = Slot(actor=actor, size=size)
        self._slots.append(slot)
        return slot

    def wait(self) -> list[TaskResult]:
        """Wait briefly for tasks to end or to exceed their time limits."""
        self._raise_if_lost()
        results: list[TaskResult] = []
        running = {slot.reference: slot for slot in self._slots if slot.task is not None}
        if not running:
            return results
        ended, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
        for reference in ended:
            results += self._collect(running[reference])
        for slot in list(self._slots):
            if slot.task is not None and slot.is_late():
                message = f"It ran longer than the limit of {slot.task.time_limit:g} s."
                results.append(slot.task.fail("timeout", message))
                self._end(slot)
        self._use_idle_slots()
        return results

    def _use_idle_slots(self) -> None:
        """Let idle slots help tasks that no node can start, since one has left the cluster."""
        if self._session.is_local:
            return
        earliest = time.monotonic() - MAX_PENDING_SECONDS
        for slot in list(self._slots):
            idle = [other for other in self._slots if other.task is None]
            task = slot.task
            if not idle or task is None or slot.submitted > earliest or slot.has_started():
                continue
            fitting = [other for other in idle if other.fits(slot.size)]
            if fitting:
                self._end(slot)
                fitting[0].run(task)
            else:
                self._end(idle[0])

    def cancel(self, unit: str) -> None:
        """Kill the slot that works on a unit."""
        for slot in list(self._slots):
            if slot.task is not None and slot.task.unit == unit:
                self._end(slot)

    def stop(self) -> list[TaskResult]:
        """Return what has ended, and kill the rest."""
        self._raise_if_lost()
        results: list[TaskResult] = []
        for slot in list(self._slots):
            if slot.task is not None and ray.wait([slot.reference], timeout=0)[0]:
                results += self._collect(slot)
            if slot in self._slots:
                self._end(slot)
        return results

    def close(self) -> None:
        """Leave Ray; stop it if this process started it."""
        self._session.close()

    def _end(self, slot: Slot) -> None:
        self._slots.remove(slot)
        ray.kill(slot.actor, no_restart=True)

    def _raise_if_lost(self) -> None:
        if reason := self._session.find_loss():
            raise ExecutorLostError(reason)

    def _collect(self, slot: Slot) -> list[TaskResult]:
        """Return the result of a slot whose task has ended; replace a slot that died idle."""
        task = slot.task
        assert task is not None
        failure: Failure = "worker died"
        try:
            result: TaskResult = ray.get(slot.reference)
        except OutOfMemoryError as error:
            failure, message = "out of memory", f"The machine ran out of memory: {error}"
        except RayError as error:
            if slot.num_ended and not slot.has_started():
                self._slots.remove(slot)
                self.submit(task)
                return []
            cause = str(error).strip().rsplit("\n", 1)[-1]  # after the worker's own traceback
            message = f"Its worker process died ({type(error).__name__}): {cause}"
        else:
            slot.task, slot.num_ended = None, slot.num_ended + 1
            return [result]
        self._slots.remove(slot)
        return [task.fail(failure, message.split("\n")[0])]
