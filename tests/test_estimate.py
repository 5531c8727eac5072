"""What a run will take: likeness of stages, list scheduling, the forecast."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_runs import make_config

from bench.config.cards import Rows
from bench.plan.device import plan_for
from bench.plan.graph import Graph, Unit, build_graph, divide_into_units, find_missing
from bench.plan.stage import Stage
from bench.plan.trials import Trial
from bench.runner.cost_model import Throughput
from bench.runner.estimate import Forecast, Timings, forecast_run
from bench.runner.loop import TimeLimits
from bench.runner.makespan import SimulatedTask, find_critical_path, simulate_makespan
from bench.runner.stage_history import StageHistory
from bench.runner.store import Store

MODEL = Stage(kind="hub", config=make_config(name="small"))
LARGE = Stage(kind="hub", config=make_config(name="large"))


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    with plan_for("cuda"):
        yield


def draw(num: int | None, seed: int = 0) -> Stage:
    return Stage(kind="draw", config=make_config(num=num, seed=seed))


def sft(rows: Stage, *, model: Stage = MODEL, gpus: float = 0.0, **args: Any) -> Stage:
    defaults = {"epochs": 1, "threads": 1, "seed": 0, **args}
    return Stage(
        kind="sft",
        config=make_config(**defaults),
        inputs={"rows": rows, "backbone": model},
        gpus=gpus,
    )


def plan_graph(*finals: Stage) -> Graph:
    return build_graph(
        Trial(
            method=str(number),
            dataset="d",
            seed=0,
            model=None,
            rows=Rows(),
            data_seed=0,
            settings={},
            evaluations={"final": final},
        )
        for number, final in enumerate(finals)
    )


def commit(store: Store, stage: Stage, seconds: float, **more: Any) -> str:
    """Write the artifacts of a stage and of its inputs, which took a second each."""
    for one in stage.inputs.values():
        if not store.has(one.kind, one.key):
            commit(store, one, 1.0)
    return commit_under(store, stage, stage.key, seconds, **more)


def commit_under(store: Store, stage: Stage, key: str, seconds: float, **more: Any) -> str:
    with store.building(stage.kind, key) as folder:
        meta = {
            "args": stage.args,
            "inputs": {name: source.key for name, source in stage.inputs.items()},
            "seconds": seconds,
            "provenance": {"host": "here"},
            **more,
        }
        store.commit(stage.kind, key, folder, meta)
    return key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def estimate(store: Store, stage: Stage) -> tuple[float, str]:
    return Timings(StageHistory([store], plan_graph(stage))).estimate(stage)


def test_a_stored_stage_takes_what_it_took(store: Store) -> None:
    commit(store, sft(draw(10)), 40.0)
    commit(store, sft(draw(10), seed=1), 80.0)
    assert estimate(store, sft(draw(10))) == (40.0, "same stage")


def test_other_seeds_and_code_give_a_median(store: Store) -> None:
    commit(store, sft(draw(10)), 40.0)
    commit(store, sft(draw(10, seed=5), seed=1), 60.0)
    commit(store, sft(draw(20)), 9999.0)
    assert estimate(store, sft(draw(10), seed=2)) == (50.0, "other seed or code")
    commit_under(
        store, sft(draw(10)), "0" * 32, 90.0
    )  # the same arguments under a key of older code
    assert estimate(store, sft(draw(10), seed=2)) == (60.0, "other seed or code")


def test_other_sizes_are_scaled_by_rows_and_epochs(store: Store) -> None:
    commit(store, sft(draw(10), epochs=2), 40.0)
    assert estimate(store, sft(draw(30), epochs=1)) == (60.0, "scaled")


def test_a_sample_is_never_larger_than_what_it_is_drawn_from(store: Store) -> None:
    def small(num: int) -> Stage:
        return Stage(kind="sample", config=make_config(num=num), inputs={"rows": draw(20)})

    commit(store, sft(small(10)), 40.0)
    assert estimate(store, sft(small(500)))[0] == 80.0


def test_another_model_or_unknown_rows_have_no_estimate(store: Store) -> None:
    commit(store, sft(draw(10), epochs=10), 10.0)
    for stage in (sft(draw(10), model=LARGE), sft(draw(None)), sft(draw(10), loss="other")):
        assert estimate(store, stage) == (0.0, "never")


def test_the_cost_model_grows_with_parameters_rows_and_epochs(store: Store) -> None:
    device = Throughput(device="cpu", name="made up", flops=1e11, bytes_per_second=1e10)

    def predict(name: str, num: int | None, epochs: int = 1) -> list[float]:
        model = Stage(kind="hub", config=make_config(name=name))
        stage = sft(draw(num), model=model, num_train_epochs=epochs)
        timings = Timings(StageHistory([store], plan_graph(stage)), device)
        return [each.estimate(stage)[0] for each in (timings.lower_end(), timings)]

    low, high = predict("llama-3.2-1b-instruct", 100)
    assert low == pytest.approx(100 * 64 * 1.24e9 * 6 / 6e10)
    assert high == pytest.approx(100 * 512 * 1.24e9 * 6 / 1e10)
    assert predict("llama-3.2-1b-instruct", 300, 2) == pytest.approx([6 * low, 6 * high])
    assert predict("llama-3.1-8b-instruct", 100)[0] == pytest.approx(low * 8.03 / 1.24)
    assert predict("llama-3.2-1b-instruct", None) == predict("unknown", 100) == [0, 0]


def test_a_kind_that_was_never_timed_is_reported(store: Store) -> None:
    assert estimate(store, sft(draw(10))) == (0.0, "never")
    commit(store, draw(10), 1.0)
    forecast = forecast_run(
        divide_into_units(graph := plan_graph(sft(draw(10))), graph.stages),
        Timings(StageHistory([store], graph)),
    )
    assert forecast.never_timed == {"hub": 1, "sft": 1}
    assert forecast.work_seconds == 1.0


def test_loading_is_added_on_average(store: Store) -> None:
    commit(store, sft(draw(10)), 40.0, loading_seconds=6.0)
    commit(store, sft(draw(10), seed=1), 40.0, loading_seconds=0.0)
    assert estimate(store, sft(draw(10)))[0] == 43.0
    assert estimate(store, sft(draw(10), seed=2))[0] == 43.0


def test_another_device_or_card_tells_nothing(store: Store) -> None:
    commit(store, sft(draw(10)), 900.0)  # on a CPU
    assert estimate(store, sft(draw(10), gpus=1.0)) == (0.0, "never")
    cards = [("H100", 40.0), ("H100", 42.0), ("A100", 90.0)]
    for seed, (card, seconds) in enumerate(cards, start=1):
        provenance = {"host": "h", "gpu": card}
        commit(
            store, sft(draw(10), seed=seed, gpus=1.0), seconds, device="cuda", provenance=provenance
        )
    assert estimate(store, sft(draw(10), gpus=1.0)) == (41.0, "other seed or code")


def test_a_unit_has_a_limit_from_its_estimate(store: Store) -> None:
    stages = [sft(draw(10)), sft(draw(10), seed=1), sft(draw(10), loss="other")]
    units = [Unit(stages=(stage,), parents=frozenset()) for stage in stages]
    cheap, costly, unknown = units
    graph = plan_graph(*stages)
    limits = TimeLimits(Timings(StageHistory([store], graph)), None)
    assert {limits.limit(unit) for unit in units} == {48 * 3600.0}
    commit(store, stages[0], 40.0)
    commit(store, stages[1], 4000.0)
    limits = TimeLimits(Timings(StageHistory([store], graph)), None)
    assert limits.limit(cheap) == 3600.0
    assert limits.limit(costly) == 20 * 4000.0
    assert "1 h to 48 h" in limits.describe(units)
    assert "--time-limit" in limits.describe(units)
    assert TimeLimits(Timings(StageHistory([store], graph)), 9.0).limit(unknown) == 9.0


def test_stored_stages_take_no_time(store: Store) -> None:
    commit(store, sft(draw(10)), 40.0)
    graph = plan_graph(sft(draw(10)))
    todo = find_missing(graph, lambda stage: store.has(stage.kind, stage.key))
    forecast = forecast_run(divide_into_units(graph, todo), Timings(StageHistory([store], graph)))
    assert (
        forecast.work_seconds,
        forecast.predict_seconds(cpus=1),
        forecast.find_critical_path(),
    ) == (0.0, 0.0, [])


def test_another_store_gives_timings(store: Store, tmp_path: Path) -> None:
    commit(store, sft(draw(10)), 40.0)
    graph = plan_graph(sft(draw(10)))
    here = Store(tmp_path / "empty")
    timings = Timings(StageHistory([store, here], graph))
    forecast = forecast_run(divide_into_units(graph, graph.stages), timings)
    assert forecast.predict_seconds(cpus=1) == 42.0
    assert forecast.seconds_by_basis == {"same stage": 42.0}


def plan_on_gpus(store: Store) -> Forecast:
    """Four trials of 10 s on a whole GPU each, behind shared work of 2 s."""
    finals = [sft(draw(10), seed=seed, gpus=1.0) for seed in range(4)]
    for final in finals:
        commit(store, final, 10.0)
    graph = plan_graph(*finals)
    timings = Timings(StageHistory([store], graph))
    return forecast_run(divide_into_units(graph, graph.stages), timings)


def test_more_gpus_buy_time_until_the_critical_path(store: Store) -> None:
    forecast = plan_on_gpus(store)
    lines = forecast.predict_scaling(gpus=1, cpus_per_gpu=4)
    assert [(gpus, seconds) for gpus, _, seconds in lines] == [(1, 41.0), (2, 21.0), (4, 11.0)]
    assert [cpus for _, cpus, _ in lines] == [4, 8, 16]
    assert sum(seconds for _, seconds in forecast.find_critical_path()) == 11.0
    assert forecast.compute_gpu_utilization(41.0, 1) == pytest.approx(40 / 41)
    assert forecast.predict_seconds(cpus=1) == 42.0


def test_the_table_reaches_what_was_asked_for(store: Store) -> None:
    forecast = plan_on_gpus(store)
    assert [gpus for gpus, _, _ in forecast.predict_scaling(gpus=6, cpus_per_gpu=4)] == [1, 2, 4, 6]


# --- list scheduling ------------------------------------------------------------------------------


def test_tasks_start_in_order_where_there_is_room() -> None:
    tasks = [
        SimulatedTask(seconds=4),
        SimulatedTask(seconds=3, threads=2),
        SimulatedTask(seconds=1),
        SimulatedTask(seconds=1),
    ]
    # 0 | 2, 3 next to it, since 1 does not fit | 1
    assert simulate_makespan(tasks, cpus=2, gpus=0) == 7
    assert simulate_makespan(tasks, cpus=1, gpus=0) == 9


def test_requests_are_reduced_to_the_machine() -> None:
    tasks = [
        SimulatedTask(seconds=2, threads=8, gpus=1.0),
        SimulatedTask(seconds=2, threads=8, gpus=1.0),
    ]
    assert simulate_makespan(tasks, cpus=4, gpus=0) == 4
    assert simulate_makespan(tasks, cpus=16, gpus=1) == 4
    assert simulate_makespan(tasks, cpus=16, gpus=2) == 2


def test_fractions_of_a_gpu_run_side_by_side() -> None:
    tasks = [SimulatedTask(seconds=1, gpus=1 / 3) for _ in range(6)]
    assert simulate_makespan(tasks, cpus=8, gpus=1) == 2


def test_gpu_tasks_start_first() -> None:
    tasks = [
        SimulatedTask(seconds=5),
        SimulatedTask(seconds=5, gpus=1.0, first=True),
        SimulatedTask(seconds=5, parents=(1,)),
    ]
    assert simulate_makespan(tasks, cpus=1, gpus=1) == 15
    assert simulate_makespan(tasks, cpus=2, gpus=1) == 10
    assert simulate_makespan([SimulatedTask(seconds=9), *tasks[1:]], cpus=1, gpus=1) == 19


def test_a_task_waits_for_its_parents_wherever_they_stand() -> None:
    tasks = [
        SimulatedTask(seconds=1, parents=(2,)),
        SimulatedTask(seconds=2),
        SimulatedTask(seconds=3),
    ]
    assert simulate_makespan(tasks, cpus=2, gpus=0) == 4
    assert find_critical_path(tasks) == [2, 0]


@st.composite
def task_lists(draw_: st.DrawFn) -> list[SimulatedTask]:
    count = draw_(st.integers(1, 12))
    tasks = []
    for number in range(count):
        parents = draw_(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        gpus = draw_(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
        tasks.append(
            SimulatedTask(
                seconds=draw_(st.integers(0, 9)),
                threads=draw_(st.integers(1, 3)),
                gpus=gpus,
                parents=tuple(parents),
                first=gpus > 0,
            )
        )
    return tasks


def simulate_loop(tasks: Sequence[SimulatedTask], cpus: int, gpus: float) -> float:
    """Do literally what the loop does: go through all that wait, in order, after every end."""
    waiting = sorted(range(len(tasks)), key=lambda number: not tasks[number].first)
    running: dict[int, float] = {}
    ended: set[int] = set()
    now = 0.0

    def asks(number: int) -> tuple[int, float]:
        return min(tasks[number].threads, cpus), min(tasks[number].gpus, gpus)

    while waiting or running:
        for number in list(waiting):
            used = [asks(other) for other in running]
            free = cpus - sum(one for one, _ in used), gpus - sum(one for _, one in used)
            wants = asks(number)
            fits = wants[0] <= free[0] and wants[1] <= free[1] + 1e-6
            if set(tasks[number].parents) <= ended and fits:
                waiting.remove(number)
                running[number] = now + tasks[number].seconds
        first = min(running, key=lambda number: (running[number], number))
        now = running.pop(first)
        ended.add(first)
    return now


@given(task_lists(), st.integers(1, 4), st.sampled_from([0, 1, 2]))
def test_makespan_equals_that_of_the_loop(tasks: list[SimulatedTask], cpus: int, gpus: int) -> None:
    makespan = simulate_makespan(tasks, cpus=cpus, gpus=gpus)
    assert makespan == simulate_loop(tasks, cpus, gpus)
    chain = find_critical_path(tasks)
    longest = sum(tasks[number].seconds for number in chain)
    assert longest <= makespan <= sum(task.seconds for task in tasks)
    assert all(before in tasks[after].parents for before, after in itertools.pairwise(chain))
    assert simulate_makespan(tasks, cpus=100, gpus=100) == longest
