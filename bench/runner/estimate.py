"""How long a run will take on a machine, estimated from the seconds of stored artifacts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal, TypeAlias

from bench.plan.graph import Unit
from bench.plan.stage import Stage
from bench.runner.cost_model import Throughput, count_parameters, predict_range
from bench.runner.makespan import SimulatedTask, find_critical_path, simulate_makespan
from bench.runner.resources import ResourceRequest
from bench.runner.stage_history import StageHistory, describe_stage

Basis: TypeAlias = Literal["same stage", "other seed or code", "scaled", "cost model", "never"]
"""What an estimate is based on: the stage's own artifact; artifacts that differ in seeds or code;
artifacts of the same structure and backbone, in proportion to the workload; parameters × tokens
over the measured throughput of the device; nothing."""

CHEAP = frozenset([
    "prepare", "draw", "reorder", "sample", "select", "lists", "questions", "order_lists",
    "evaluate", "evaluate_lists", "build", "gguf", "hub", "pairs", "embed", "ground",
])  # fmt: skip
"""Kinds without which an estimate still tells something, if it says that they are not counted."""

CPUS_PER_GPU = 8
SATURATION = 1.02  # within 2 % of the critical path, more machines gain nothing
MAX_DOUBLINGS = 16


def get_gpu(meta: Mapping[str, Any]) -> str:
    """Return the name of the GPU that an artifact was computed on; "" for none."""
    name: str = meta.get("provenance", {}).get("gpu", "")
    return name


class Timings:
    """Measured seconds of stages.

    The history has the artifacts that were timed, and the plan to estimate; the throughput is that
    of the device that language models run on, if it was measured.

    Attributes:
        gpu: The GPU that most timed artifacts were computed on; timings of others are left out.
    """

    def __init__(self, history: StageHistory, throughput: Throughput | None = None) -> None:
        self._throughput, self._history = throughput, history
        self._end = 1  # of a range of the cost model
        self._by_configuration: dict[int, list[float]] = defaultdict(list)
        self._by_structure: dict[Hashable, list[tuple[float, float | None]]] = defaultdict(list)
        gpus = Counter(map(get_gpu, history.metas.values()))
        gpus.pop("", None)
        self.gpu = gpus.most_common(1)[0][0] if gpus else ""
        loading: dict[str, list[float]] = defaultdict(list)
        for key, meta in history.metas.items():
            if get_gpu(meta) not in ("", self.gpu):
                continue
            kind, seconds = meta["kind"], meta["seconds"]
            self._by_configuration[history.number_configuration(key)].append(seconds)
            timing = (seconds, history.estimate_workload(meta))
            self._by_structure[history.describe_structure(meta)].append(timing)
            loading[kind].append(meta.get("loading_seconds", 0.0))
        self._loading = {kind: fmean(seconds) for kind, seconds in loading.items()}
        self._estimates: dict[int, tuple[float, Basis]] = {}  # by configuration

    def __len__(self) -> int:
        return len(self._history.metas)

    def lower_end(self) -> Timings:
        """Return the same with the lower ends of the cost model's ranges."""
        lower = copy(self)
        lower._end, lower._estimates = 0, {}
        return lower

    def list_hosts(self) -> list[str]:
        """Return the names of the machines that were timed."""
        metas = self._history.metas.values()
        return sorted({meta["provenance"].get("host", "?") for meta in metas})

    def is_cpu_only(self) -> bool:
        """Return whether no artifact was computed on a GPU."""
        return not any("gpu_memory_mib" in meta for meta in self._history.metas.values())

    def estimate(self, stage: Stage) -> tuple[float, Basis]:
        """Return the seconds that a stage will take, loading included, and their basis."""
        metas = self._history.metas
        loading = self._loading.get(stage.kind, 0.0)
        if stage.key in metas:
            return metas[stage.key]["seconds"] + loading, "same stage"
        number = self._history.number_configuration(stage.key)
        if number not in self._estimates:
            self._estimates[number] = self._extrapolate(stage, number)
        seconds, basis = self._estimates[number]
        return seconds + loading, basis

    def _extrapolate(self, stage: Stage, number: int) -> tuple[float, Basis]:
        if number in self._by_configuration:
            return median(self._by_configuration[number]), "other seed or code"
        info = describe_stage(stage)
        workload = self._history.estimate_workload(info)
        timings = self._by_structure.get(self._history.describe_structure(info), [])
        rates = [seconds / timed_workload for seconds, timed_workload in timings if timed_workload]
        if workload and rates:
            return median(rates) * workload, "scaled"
        predicted = self._predict(stage)
        if predicted is not None:
            return predicted[self._end], "cost model"
        return 0.0, "never"

    def _predict(self, stage: Stage) -> tuple[float, float] | None:
        info = describe_stage(stage)
        rows, backbone = self._history.count_rows(info), self._history.find_backbone(info)
        if self._throughput is None or rows is None or backbone is None:
            return None
        parameters = count_parameters(backbone)
        if parameters is None:
            return None
        return predict_range(
            stage.kind, stage.args, rows=rows, parameters=parameters, throughput=self._throughput
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take.

    Attributes:
        tasks: The same with their seconds and requests.
        seconds_by_basis: Seconds of work by the basis of their estimate.
        stages_by_basis: Stages by the basis of their estimate.
        never_timed: Stages without any estimate, by kind; no number includes them.
        models_timed: Whether every stage of a language model has one; None without such a stage.
    """

    units: Sequence[Unit]
    tasks: Sequence[SimulatedTask]
    seconds_by_basis: Mapping[Basis, float]
    stages_by_basis: Mapping[Basis, int]
    never_timed: Mapping[str, int]
    models_timed: bool | None = None

    @property
    def work_seconds(self) -> float:
        """Seconds of all units one after another."""
        return sum(task.seconds for task in self.tasks)

    @property
    def is_known(self) -> bool:
        """Whether all stages that decide the time have an estimate: language models, if any."""
        return self.never_timed.keys() <= CHEAP or self.models_timed is True

    def predict_seconds(self, *, cpus: int, gpus: int = 0) -> float:
        """Return the makespan on a machine."""
        return simulate_makespan(self.tasks, cpus=cpus, gpus=gpus)

    def find_critical_path(self) -> list[tuple[Unit, float]]:
        """Return the units of the critical path with their seconds."""
        path = find_critical_path(self.tasks)
        return [(self.units[index], self.tasks[index].seconds) for index in path]

    def compute_gpu_utilization(self, seconds: float, gpus: int) -> float:
        """Return the fraction of the time for which the GPUs are requested."""
        gpu_seconds = sum(task.seconds * min(task.gpus, 1.0) for task in self.tasks)
        return gpu_seconds / (gpus * seconds) if seconds else 0.0

    def predict_scaling(self, *, gpus: int, cpus_per_gpu: float) -> list[tuple[int, int, float]]:
        """Return GPUs, CPUs and seconds for 1, 2, 4, … GPUs until more GPUs save no time.

        The given number is included, and the list does not end before it.
        """
        shortest = sum(seconds for _, seconds in self.find_critical_path())
        rows: list[tuple[int, int, float]] = []
        for num_gpus in sorted({2**power for power in range(MAX_DOUBLINGS + 1)} | {gpus}):
            num_cpus = max(1, round(num_gpus * cpus_per_gpu))
            seconds = self.predict_seconds(cpus=num_cpus, gpus=num_gpus)
            rows.append((num_gpus, num_cpus, seconds))
            if num_gpus >= gpus and seconds <= SATURATION * shortest:
                break
        return rows


def forecast_run(
    units: Sequence[Unit],
    timings: Timings,
    estimate_request: Callable[[Unit], ResourceRequest] | None = None,
) -> Forecast:
    """Combine the estimates of the stages of all units.

    A unit requests what `estimate_request` returns, or what its stages declare.
    """
    indices = {stage.key: index for index, unit in enumerate(units) for stage in unit.stages}
    seconds_by_basis: dict[Basis, float] = defaultdict(float)
    stages_by_basis: Counter[Basis] = Counter()
    never_timed: Counter[str] = Counter()
    models_timed: bool | None = None
    tasks = []
    for unit in units:
        estimates = [timings.estimate(stage) for stage in unit.stages]
        for stage, (seconds, basis) in zip(unit.stages, estimates, strict=True):
            seconds_by_basis[basis] += seconds
            stages_by_basis[basis] += 1
            if "backbone" in stage.inputs:
                models_timed = models_timed is not False and basis != "never"
            if basis == "never":
                never_timed[stage.kind] += 1
        request = estimate_request(unit) if estimate_request else unit
        tasks.append(
            SimulatedTask(
                seconds=sum(seconds for seconds, _ in estimates),
                threads=request.threads,
                gpus=request.gpus,
                parents=tuple({indices[key] for key in unit.parents if key in indices}),
                first=unit.gpus > 0,
            )
        )
    return Forecast(
        units=units,
        tasks=tasks,
        seconds_by_basis=seconds_by_basis,
        stages_by_basis=stages_by_basis,
        never_timed=dict(sorted(never_timed.items())),
        models_timed=models_timed,
    )
