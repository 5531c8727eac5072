"""Simulated makespan of tasks on a number of CPUs and GPUs.

Follows the loop (`bench.runner.loop`): GPU tasks first, else in the order of the plan, and each
task starts as soon as its inputs exist and it fits.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class SimulatedTask:
    """A unit of work.

    Attributes:
        threads: CPUs that it requests; reduced to those there are.
        gpus: Fraction of a GPU that it requests; reduced likewise.
        parents: Indices of the tasks that must end first.
        first: Whether it starts before tasks that are not `first`.
    """

    seconds: float
    threads: int = 1
    gpus: float = 0.0
    parents: tuple[int, ...] = ()
    first: bool = False


def simulate_makespan(tasks: Sequence[SimulatedTask], *, cpus: int, gpus: float) -> float:
    """Return the seconds from the start of the first task to the end of the last."""
    free_cpus, free_gpus, now = cpus, gpus, 0.0
    requests = [(min(task.threads, cpus), min(task.gpus, gpus)) for task in tasks]
    # One queue per request: only its head can be the next task that fits.
    queues: dict[tuple[int, float], list[tuple[bool, int]]] = defaultdict(list)
    children: list[list[int]] = [[] for _ in tasks]
    num_pending = [len(task.parents) for task in tasks]

    def enqueue(index: int) -> None:
        heapq.heappush(queues[requests[index]], (not tasks[index].first, index))

    for index, task in enumerate(tasks):
        for parent in task.parents:
            children[parent].append(index)
        if not task.parents:
            enqueue(index)
    running: list[tuple[float, int]] = []
    while True:
        while fitting := [
            queue
            for (needed_cpus, needed_gpus), queue in queues.items()
            if queue and needed_cpus <= free_cpus and needed_gpus <= free_gpus + ROUNDING
        ]:
            _, index = heapq.heappop(min(fitting, key=lambda queue: queue[0]))
            free_cpus -= requests[index][0]
            free_gpus -= requests[index][1]
            heapq.heappush(running, (now + tasks[index].seconds, index))
        if not running:
            assert not any(num_pending), "tasks wait for each other"
            return now
        now, ended = heapq.heappop(running)
        free_cpus += requests[ended][0]
        free_gpus += requests[ended][1]
        for child in children[ended]:
            num_pending[child] -= 1
            if not num_pending[child]:
                enqueue(child)


def find_critical_path(tasks: Sequence[SimulatedTask]) -> list[int]:
    """Return the longest chain of tasks, first to last: a lower bound on any machine."""
    parents = {index: task.parents for index, task in enumerate(tasks)}
    ends: dict[int, float] = {}
    previous: dict[int, int | None] = {}
    for index in TopologicalSorter(parents).static_order():
        latest = max(parents[index], key=ends.__getitem__, default=None)
        previous[index] = latest
        ends[index] = tasks[index].seconds + (0.0 if latest is None else ends[latest])
    current: int | None = max(ends, key=ends.__getitem__, default=None)
    chain: list[int] = []
    while current is not None:
        chain.append(current)
        current = previous[current]
    return chain[::-1]
