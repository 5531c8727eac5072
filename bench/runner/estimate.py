"""How long a run will take on so many CPUs and GPUs, judged by what earlier artifacts took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal, TypeAlias, get_args

from bench.plan import Stage
from bench.plan.graph import Graph, Unit
from bench.runner.makespan import Task, critical_path, makespan
from bench.runner.resources import Share
from bench.runner.similarity import Likeness, Step
from bench.runner.store import Store

Basis: TypeAlias = Literal["same stage", "other seed or code", "scaled", "kind's median", "never"]
"""What a guess stands on: its own artifact; one that differs in seeds or code; those of the same
kind, model and settings but for numbers, in proportion to rows × epochs; the kind; nothing."""

BASES: tuple[Basis, ...] = get_args(Basis)
CPUS_PER_GPU = 8
NEAR = 1.02  # a makespan within 2 % of the critical path: more machines buy nothing
MOST_DOUBLINGS = 16


class Timings:
    """What stages took before.

    Args:
        stores: Stores whose artifacts tell; an artifact of an earlier store hides its equals.
        graph: The plan that is asked about.
    """

    def __init__(self, stores: Iterable[Store], graph: Graph) -> None:
        self._metas: dict[str, dict[str, Any]] = {}
        for store in stores:
            for meta in store.entries():
                self._metas.setdefault(meta["key"], meta)
        self._graph = graph
        self._likeness = Likeness(self._step)
        self._by_twin: dict[int, list[float]] = defaultdict(list)
        self._by_words: dict[Hashable, list[tuple[float, float | None]]] = defaultdict(list)
        self._by_kind: dict[str, list[float]] = defaultdict(list)
        loading: dict[str, list[float]] = defaultdict(list)
        for key, meta in self._metas.items():
            step = _step_of_artifact(meta)
            amount = self._likeness.amount(step)
            self._by_twin[self._likeness.twin(key)].append(meta["seconds"])
            self._by_words[self._likeness.words(step)].append((meta["seconds"], amount))
            self._by_kind[meta["kind"]].append(meta["seconds"])
            loading[meta["kind"]].append(meta.get("loading_seconds", 0.0))
        self._loading = {kind: fmean(values) for kind, values in loading.items()}
        self._known: dict[int, tuple[float, Basis]] = {}  # by twin

    def __len__(self) -> int:
        return len(self._metas)

    def hosts(self) -> list[str]:
        """Name the machines that the timings come from."""
        return sorted({meta["provenance"].get("host", "?") for meta in self._metas.values()})

    def without_gpu(self) -> bool:
        """Tell whether no artifact was made with a GPU."""
        return not any("gpu_memory_mib" in meta for meta in self._metas.values())

    def of(self, stage: Stage) -> tuple[float, Basis]:
        """Return the seconds that a stage will take, and what that stands on."""
        if not self._metas:
            return 0.0, "never"
        loading = self._loading.get(stage.kind, 0.0)
        if stage.key in self._metas:
            return self._metas[stage.key]["seconds"] + loading, "same stage"
        twin = self._likeness.twin(stage.key)
        if twin not in self._known:
            self._known[twin] = self._guess(stage, twin)
        seconds, basis = self._known[twin]
        return seconds + loading, basis

    def _guess(self, stage: Stage, twin: int) -> tuple[float, Basis]:
        if twin in self._by_twin:
            return median(self._by_twin[twin]), "other seed or code"
        step = _step_of_stage(stage)
        amount = self._likeness.amount(step)
        alike = self._by_words.get(self._likeness.words(step), [])
        rates = [seconds / rows for seconds, rows in alike if rows]
        if amount and rates:
            return median(rates) * amount, "scaled"
        if stage.kind in self._by_kind:
            return median(self._by_kind[stage.kind]), "kind's median"
        return 0.0, "never"

    def _step(self, key: str) -> Step | None:
        if key in self._graph.stages:
            return _step_of_stage(self._graph.stages[key])
        return _step_of_artifact(self._metas[key]) if key in self._metas else None


def _step_of_stage(stage: Stage) -> Step:
    inputs = {role: given.key for role, given in stage.inputs.items()}
    return Step(kind=stage.kind, args=stage.args, inputs=inputs)


def _step_of_artifact(meta: Mapping[str, Any]) -> Step:
    return Step(kind=meta["kind"], args=meta["args"], inputs=meta["inputs"])


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take.

    Attributes:
        units: Its units of work.
        tasks: The same with their seconds and what they ask for.
        basis: Seconds of work by what they stand on.
        stages: Stages by what their seconds stand on.
        never: Stages that nothing tells about, by kind; they count as nothing.
    """

    units: Sequence[Unit]
    tasks: Sequence[Task]
    basis: Mapping[Basis, float]
    stages: Mapping[Basis, int]
    never: Mapping[str, int]

    @property
    def work(self) -> float:
        """Seconds of all units one after another."""
        return sum(task.seconds for task in self.tasks)

    @property
    def gpu_seconds(self) -> float:
        """Seconds of GPUs that are asked for, shares added up."""
        return sum(task.seconds * min(task.gpus, 1.0) for task in self.tasks)

    def seconds(self, *, cpus: int, gpus: int = 0) -> float:
        """Return the makespan on so many CPUs and GPUs."""
        return makespan(self.tasks, cpus=cpus, gpus=gpus)

    def chain(self) -> list[tuple[Unit, float]]:
        """Return the units of the critical path with their seconds."""
        return [
            (self.units[number], self.tasks[number].seconds) for number in critical_path(self.tasks)
        ]

    def busy(self, seconds: float, gpus: int) -> float:
        """Return the part of the time for which so many GPUs are asked for."""
        return self.gpu_seconds / (gpus * seconds) if seconds else 0.0

    def scaling(self, *, gpus: int, cpus_per_gpu: float) -> list[tuple[int, int, float]]:
        """Return GPUs, CPUs and seconds for 1, 2, 4, … GPUs until more of them buy nothing.

        The number asked for is among them, and the table does not end before it.
        """
        shortest = sum(seconds for _, seconds in self.chain())
        lines: list[tuple[int, int, float]] = []
        for number in sorted({2**power for power in range(MOST_DOUBLINGS + 1)} | {gpus}):
            cpus = max(1, round(number * cpus_per_gpu))
            lines.append((number, cpus, self.seconds(cpus=cpus, gpus=number)))
            if number >= gpus and lines[-1][2] <= NEAR * shortest:
                break
        return lines


def forecast(
    units: Sequence[Unit], timings: Timings, shares: Callable[[Unit], Share] | None = None
) -> Forecast:
    """Put the timings of the stages of all units together.

    Args:
        units: The units.
        timings: What is known.
        shares: What a unit asks for; by default what its stages say.
    """
    numbers = {stage.key: number for number, unit in enumerate(units) for stage in unit.stages}
    seconds_by: Counter[Basis] = Counter()
    stages_by: Counter[Basis] = Counter()
    never: Counter[str] = Counter()
    tasks = []
    for unit in units:
        total = 0.0
        for stage in unit.stages:
            seconds, basis = timings.of(stage)
            total += seconds
            seconds_by[basis] += seconds  # type: ignore[assignment]
            stages_by[basis] += 1
            if basis == "never":
                never[stage.kind] += 1
        share = shares(unit) if shares else Share(threads=unit.threads, gpus=unit.gpus)
        tasks.append(
            Task(
                seconds=total,
                threads=share.threads,
                gpus=share.gpus,
                parents=tuple({numbers[key] for key in unit.parents if key in numbers}),
                first=unit.gpus > 0,
            )
        )
    return Forecast(
        units=units,
        tasks=tasks,
        basis=seconds_by,
        stages=stages_by,
        never=dict(sorted(never.items())),
    )
