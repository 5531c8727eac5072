"""The plan of a run: distinct stages, which are stored, and how long the others will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.request import STORE, RunRequest
from bench.errors import BenchError
from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
from bench.plan.device import count_gpus, plan_for, planned_device
from bench.plan.graph import Graph, build_graph, divide_into_units, find_missing
from bench.plan.trials import Trial
from bench.runner.cost_model import read_throughput
from bench.runner.estimate import CPUS_PER_GPU, Forecast, Timings, forecast_run
from bench.runner.resources import ResourceEstimator, count_cpus
from bench.runner.stage_history import StageHistory
from bench.runner.store import Store


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run would compute.

    Attributes:
        trials: The trials; one with a `problem` cannot run.
        graph: Stages of the other trials, of which some are stored and the missing must run.
        timings: What the forecast is based on; forecast: its upper end; lowest: its lower end.
        cpus: CPUs of the machine that the forecast is for; gpus: its GPUs.
    """

    trials: tuple[Trial, ...]
    graph: Graph
    stored: frozenset[str]
    missing: frozenset[str]
    num_units: int
    timings: Timings
    forecast: Forecast
    lowest: Forecast
    cpus: int
    gpus: int

    def to_json(self) -> dict[str, Any]:
        """Return trials, stages and forecast as plain values."""
        return {
            "trials": [self._trial_json(trial) for trial in self.trials],
            "stages": [
                {
                    "key": key,
                    "kind": stage.kind,
                    "args": stage.args,
                    "inputs": self.graph.inputs(key),
                    "state": "hit" if key in self.stored else "miss",
                }
                for key, stage in self.graph.stages.items()
            ],
            "forecast": self._forecast_json(),
        }

    def _trial_json(self, trial: Trial) -> dict[str, Any]:
        return {
            "id": trial.id,
            "method": trial.method,
            "dataset": trial.dataset,
            "seed": trial.seed,
            "stages": list(self.graph.needs.get(trial.id, ())),
            **({"notes": list(trial.notes)} if trial.notes else {}),
            **({"problem": trial.problem} if trial.problem else {}),
        }

    def _forecast_json(self) -> dict[str, Any]:
        forecast = self.forecast
        return {
            "cpus": self.cpus,
            "gpus": self.gpus,
            "seconds": self.predict_range(),
            "work_seconds": forecast.work_seconds if forecast.is_known else None,
            "seconds_by_basis": dict(forecast.seconds_by_basis),
            "stages_by_basis": dict(forecast.stages_by_basis),
            "never_timed": dict(forecast.never_timed),
            "critical_path": [
                {
                    "unit": unit.id,
                    "stages": [stage.kind for stage in unit.stages],
                    "trials": sorted(unit.trials),
                    "seconds": seconds,
                }
                for unit, seconds in forecast.find_critical_path()
            ],
            "scaling": [
                {"gpus": gpus, "cpus": cpus, "seconds": seconds}
                for gpus, cpus, seconds in self.predict_scaling()
            ],
        }

    def predict_range(self) -> tuple[float, float] | None:
        """Return the fewest and most seconds; None if stages that decide them have no estimate."""
        if not self.forecast.is_known:
            return None
        low, high = (
            forecast.predict_seconds(cpus=self.cpus, gpus=self.gpus)
            for forecast in (self.lowest, self.forecast)
        )
        return low, high

    def predict_scaling(self) -> Sequence[tuple[int, int, float]]:
        """Return (GPUs, CPUs, seconds) of machines with fewer and more GPUs; none without GPUs."""
        if not self.gpus or not self.forecast.is_known:
            return []
        return self.forecast.predict_scaling(gpus=self.gpus, cpus_per_gpu=self.cpus / self.gpus)


def plan_run(
    request: RunRequest,
    *,
    store: Path | str = STORE,
    data_dir: Path | None = None,
    gpus: int | None = None,
    cpus: int | None = None,
    timings: Sequence[Path] = (),
    fresh: bool = False,
) -> RunPlan:
    """Plan a run without running it: stages, which of them are stored, and how long it will take.

    Args:
        request: What to run.
        store: Folder of the artifacts.
        data_dir: Folder of raw files, searched first.
        gpus: GPUs of the machine that the time is estimated for; None for this machine's.
        cpus: CPUs of that machine; None for this machine's, and at least 8 per GPU.
        timings: Other stores whose recorded timings are used.
        fresh: Whether to estimate as if nothing were stored.

    Raises:
        BenchError: If the request is not valid or a store of `timings` does not exist.
    """
    with plan_for(None if gpus is None else "cuda" if gpus else "cpu"):
        trials = distinct_trials(plan_boards(select_boards(request), data_dir=data_dir))
    return plan_trials(trials, Path(store), gpus=gpus, cpus=cpus, timings=timings, fresh=fresh)


def plan_trials(
    trials: Sequence[Trial],
    store_folder: Path,
    *,
    gpus: int | None = None,
    cpus: int | None = None,
    timings: Sequence[Path] = (),
    fresh: bool = False,
) -> RunPlan:
    """Plan a run of trials; see `plan_run` for the other arguments."""
    gpus = count_gpus() if gpus is None else gpus
    store = Store(store_folder)
    graph = build_graph(trial for trial in trials if not trial.problem)
    stored = stored_keys(graph, store)
    reused = set() if fresh else stored
    todo = find_missing(graph, lambda stage: stage.key in reused)
    work = divide_into_units(graph, todo)
    timed_stores = [*map(_open_timings, timings), store]
    throughput = read_throughput(store.root, "cuda" if gpus else planned_device())
    history = StageHistory(timed_stores, graph)
    measured_timings = Timings(history, throughput)
    # As the run does it: by what was measured on a GPU, else by the model cards.
    measured = (
        None
        if measured_timings.is_cpu_only()
        else ResourceEstimator(
            StageHistory(timed_stores[:1], graph) if timings else history
        ).estimate
    )
    return RunPlan(
        trials=tuple(trials),
        graph=graph,
        stored=frozenset(stored),
        missing=frozenset(todo),
        num_units=len(work),
        timings=measured_timings,
        forecast=forecast_run(work, measured_timings, measured),
        lowest=forecast_run(work, measured_timings.lower_end(), measured),
        cpus=cpus or max(count_cpus(), CPUS_PER_GPU * gpus),
        gpus=gpus,
    )


def stored_keys(graph: Graph, store: Store) -> set[str]:
    """Return the keys of a graph that are stored; folders are listed once, not looked up singly."""
    names = {path.name for path in store.root.glob("*/*")}
    return {
        key for key, stage in graph.stages.items() if key in names and store.has(stage.kind, key)
    }


def _open_timings(folder: Path) -> Store:
    if not folder.is_dir():
        raise BenchError(
            f"There is no store {folder} to take timings from.", "Name a folder like .bench/store."
        )
    return Store(folder)
