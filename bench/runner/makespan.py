"""How long units of work take on so many CPUs and GPUs, by doing them as the loop would.

The loop (`bench.runner.loop`) takes units for a GPU first, else in the plan's order, and starts
each whose inputs are there and for which there is room; so does this, on paper.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Task:
    """A unit of work.

    Attributes:
        seconds: What it takes.
        threads: CPUs that it wants; more than there are share those.
        gpus: Share of a GPU that it wants where there is one.
        parents: Numbers of the tasks that must end first.
        first: Whether it goes before those that are not.
    """

    seconds: float
    threads: int = 1
    gpus: float = 0.0
    parents: tuple[int, ...] = ()
    first: bool = False


@dataclass
class _Room:
    """What is free."""

    cpus: int
    gpus: float

    def fits(self, cpus: int, gpus: float) -> bool:
        return cpus <= self.cpus and gpus <= self.gpus + ROUNDING


@dataclass
class _Ready:
    """Tasks that may start, by what they ask for, each in the order in which they are looked at."""

    tasks: Sequence[Task]
    total: _Room
    waiting: dict[tuple[int, float], list[tuple[bool, int]]] = field(default_factory=dict)

    def asks(self, number: int) -> tuple[int, float]:
        task = self.tasks[number]
        return min(task.threads, self.total.cpus), min(task.gpus, self.total.gpus)

    def add(self, number: int) -> None:
        queue = self.waiting.setdefault(self.asks(number), [])
        heapq.heappush(queue, (not self.tasks[number].first, number))

    def take(self, free: _Room) -> int | None:
        """Return the first one that fits."""
        fitting = [queue for asked, queue in self.waiting.items() if queue and free.fits(*asked)]
        return heapq.heappop(min(fitting, key=lambda queue: queue[0]))[1] if fitting else None


def makespan(tasks: Sequence[Task], *, cpus: int, gpus: float) -> float:
    """Return the seconds from the first task's start to the last one's end."""
    free, now = _Room(cpus, gpus), 0.0
    ready = _Ready(tasks, _Room(cpus, gpus))
    children: list[list[int]] = [[] for _ in tasks]
    waits_for = [len(task.parents) for task in tasks]
    for number, task in enumerate(tasks):
        for parent in task.parents:
            children[parent].append(number)
        if not task.parents:
            ready.add(number)
    running: list[tuple[float, int]] = []
    while True:
        while (taken := ready.take(free)) is not None:
            asked = ready.asks(taken)
            free.cpus, free.gpus = free.cpus - asked[0], free.gpus - asked[1]
            heapq.heappush(running, (now + tasks[taken].seconds, taken))
        if not running:
            assert not any(waits_for), "tasks wait for one another"
            return now
        now, ended = heapq.heappop(running)
        asked = ready.asks(ended)
        free.cpus, free.gpus = free.cpus + asked[0], free.gpus + asked[1]
        for child in children[ended]:
            waits_for[child] -= 1
            if not waits_for[child]:
                ready.add(child)


def critical_path(tasks: Sequence[Task]) -> list[int]:
    """Return the chain of tasks that takes longest, first to last: no machine is quicker."""
    parents = {number: task.parents for number, task in enumerate(tasks)}
    ends: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for number in TopologicalSorter(parents).static_order():
        latest = max(parents[number], key=ends.__getitem__, default=None)
        before[number] = latest
        ends[number] = tasks[number].seconds + (0.0 if latest is None else ends[latest])
    last: int | None = max(ends, key=ends.__getitem__, default=None)
    chain: list[int] = []
    while last is not None:
        chain.append(last)
        last = before[last]
    return chain[::-1]
