"""Slots of the Ray executor: one process per device for life, replaced when it dies; a lost Ray."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import psutil
import pytest
from scripted_runs import install_method, plan_trials, run_trials

from bench.hashing import Job
from bench.plan.device import plan_for
from bench.plan.graph import Unit, build_graph
from bench.plan.stage import Stage
from bench.results.schema import find_result
from bench.runner import loop, ray_process, ray_session, ray_slots, worker
from bench.runner.executors import InlineExecutor
from bench.runner.ray_executor import RayExecutor
from bench.runner.ray_session import RaySession
from bench.runner.resources import ResourceEstimator, ResourceRequest
from bench.runner.worker import TaskResult, TaskSpec, make_task, run_task

NUM_UNITS = 8


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_method(tmp_path, monkeypatch)


def read_devices(commands: Path) -> dict[str, list[str]]:
    """Return the `CUDA_VISIBLE_DEVICES` of each unit, by process."""
    devices = defaultdict(list)
    for line in (commands / "devices").read_text().splitlines():
        process, _, device = line.partition(" ")
        devices[process].append(device)
    return devices


@pytest.mark.parametrize("shares", [(0.5,), (1.0, 0.5, 0.0, 0.25)])
def test_a_process_keeps_its_device(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch, shares: tuple[float, ...]
) -> None:
    """On two GPUs that exist for Ray only, with a slot that is killed on the way."""
    requested = itertools.cycle(shares)
    monkeypatch.setattr(
        ResourceEstimator,
        "estimate",
        lambda self, unit: ResourceRequest(threads=1, gpus=next(requested)),
    )
    for seed in range(NUM_UNITS):
        (commands / f"{seed}").write_text("die once" if seed == 3 else "name the device")
    todo = plan_trials(commands, seeds=NUM_UNITS)
    summary = run_trials(tmp_path, todo, lambda: RayExecutor(num_cpus=4, num_gpus=2))
    assert len(summary.ok) == NUM_UNITS
    results = [find_result(tmp_path / "results", trial.id) for trial in todo]
    failures = [[attempt.failure for attempt in result.attempts] for result in results if result]
    # On an overloaded machine Ray may lose processes of its own accord; their tasks run again.
    num_deaths = sum(map(len, failures))
    assert {failure for of_trial in failures for failure in of_trial} == {"worker died"}
    assert "worker died" in failures[3]
    devices = read_devices(commands)
    assert NUM_UNITS - 1 <= sum(map(len, devices.values())) <= NUM_UNITS - 2 + num_deaths
    assert all(len(set(names)) == 1 for names in devices.values())
    assert {name for names in devices.values() for name in names} == (
        {"0", "1"} if 0.0 not in shares else {"0", "1", ""}
    )
    if len(shares) == 1:  # otherwise slots make room for other sizes
        assert len(devices) <= 2 / shares[0] + num_deaths  # one took the place of each dead one


def make_task_of(commands: Path, folder: Path, seed: int, backbone: str = "") -> TaskSpec:
    (commands / f"{seed}").write_text("name the device")
    graph = build_graph(plan_trials(commands, seeds=seed + 1)[seed:])
    unit = Unit(stages=tuple(graph.stages.values()), parents=frozenset())
    task = make_task(unit, store=folder, job=Job(out=folder))
    return worker.dataclasses.replace(task, backbone=backbone)


@pytest.fixture
def executor() -> Iterator[RayExecutor]:
    made = RayExecutor(num_cpus=2)
    yield made
    made.close()


def run_one(executor: RayExecutor, task: TaskSpec) -> TaskResult:
    executor.submit(task)
    while not (results := executor.wait()):
        pass
    return results[0]


def test_a_slot_with_the_backbone_is_preferred_and_a_dead_one_replaced(
    tmp_path: Path, commands: Path, executor: RayExecutor
) -> None:
    first, second, again, last = (
        make_task_of(commands, tmp_path, seed, backbone) for seed, backbone in enumerate("abbb")
    )
    executor.submit(first)
    executor.submit(second)
    results: list[TaskResult] = []
    while len(results) < 2:
        results += executor.wait()
    assert run_one(executor, again).failure is None
    lines = (commands / "devices").read_text().splitlines()
    assert lines[-1] in lines[:2]
    psutil.Process(int(lines[-1].split()[0])).kill()
    # Without a run directory nobody knows that it had not begun.
    last = worker.dataclasses.replace(last, run_directory=tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert run_one(executor, last).failure is None
    assert (commands / "devices").read_text().splitlines()[-1] != lines[-1]


def test_the_time_limit_counts_from_the_start_of_the_worker(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(ray_slots, "time", SimpleNamespace(monotonic=lambda: now))
    task = make_task_of(commands, tmp_path, 0)
    task = worker.dataclasses.replace(task, run_directory=tmp_path / "run", time_limit=15.0)
    actor = SimpleNamespace(run=SimpleNamespace(remote=lambda task: None))
    slot = ray_slots.Slot(actor=actor, size=ray_slots.np.ones(3))
    slot.run(task)
    now = 100.0
    assert not slot.is_late()  # it waits for a node
    events = ray_slots.get_events_path(tmp_path / "run", task.unit)
    events.parent.mkdir(parents=True)
    events.touch()
    for seconds, is_late in ((200.0, False), (215.0, False), (215.1, True)):
        now = seconds
        assert slot.is_late() == is_late


def test_units_of_one_backbone_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class OneSlot:
        """Runs nothing; every unit fails."""

        task: TaskSpec | None = None
        backbones: list[str] = field(default_factory=list)

        def has_capacity(self, request: ResourceRequest) -> bool:
            return self.task is None

        def submit(self, task: TaskSpec) -> None:
            self.task = task
            self.backbones.append(task.backbone)

        def wait(self) -> list[TaskResult]:
            task, self.task = self.task, None
            assert task is not None
            if not task.backbone:
                return [run_task(task)]
            return [task.fail("error", "It was not run.")]

        def cancel(self, unit: str) -> None: ...

        def close(self) -> list[TaskResult]:
            return []

    def name_backbone(unit: Unit) -> str:
        if unit.stages[-1].kind != "evaluate":
            return ""
        return "even" if int(min(unit.trials)[-1]) % 2 == 0 else "odd"

    monkeypatch.setattr(Unit, "backbone", property(name_backbone))
    slot = OneSlot()
    run_trials(tmp_path, plan_trials(rows=("random",), seeds=8), lambda: slot)
    order = [name for name in slot.backbones if name]
    assert sorted(order) == ["even"] * 4 + ["odd"] * 4
    assert len(list(itertools.groupby(order))) == 2


def test_out_of_memory_takes_more_of_the_card_before_it_halves_micro_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullCard(InlineExecutor):
        """Fails with out of memory until a unit has a whole card and a quarter of its batch."""

        requests: ClassVar[list[tuple[float, int]]] = []

        def wait(self) -> list[TaskResult]:
            task = self._task
            assert task is not None
            if task.stages[-1].kind == "evaluate":
                self.requests.append((self.share, task.job.micro_batch_divisor))
                if self.requests[-1] != (1.0, 4):
                    self._task = None
                    return [worker.dataclasses.replace(task.fail("out of memory", ""), stage="sft")]
            return super().wait()

        def submit(self, task: TaskSpec) -> None:
            self.share = task.resources.gpus
            super().submit(task)

    request = ResourceRequest(threads=1, gpus=0.25)
    monkeypatch.setattr(ResourceEstimator, "estimate", lambda self, unit: request)
    todo = plan_trials(rows=("random",), seeds=2)
    assert run_trials(tmp_path, todo[:1], FullCard).exit_code == 0
    assert FullCard.requests == [(0.25, 1), (0.5, 1), (1.0, 1), (1.0, 2), (1.0, 4)]
    assert run_trials(tmp_path, todo, FullCard).exit_code == 0  # another seed remembers
    assert FullCard.requests[5:] == [(0.25, 4), (0.5, 4), (1.0, 4)]


def test_the_backbone_of_a_unit_is_the_untuned_model() -> None:
    backbone = Stage(kind="hub")
    policy = Stage(kind="sft", inputs={"backbone": backbone})
    answers = Stage(kind="generate", inputs={"start": policy, "backbone": backbone})
    unit = Unit(stages=(policy, answers, Stage(kind="evaluate")), parents=frozenset())
    assert unit.backbone == backbone.key
    assert Unit(stages=(backbone,), parents=frozenset()).backbone == ""


class FakeCuda:
    """What slots use of `torch.cuda`."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_available = self.is_initialized = lambda: True
        self.reset_peak_memory_stats = lambda: None
        self.empty_cache = lambda: self.calls.append("empty")
        self.set_per_process_memory_fraction = self.calls.append


def test_every_unit_sets_its_share_of_the_card_and_empties_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    monkeypatch.setattr(ray_slots.ray, "get_gpu_ids", lambda: [0])

    def run_share(share: float) -> TaskResult:
        worker._prepare_memory(share)
        if share == 0.5:
            raise MemoryError
        return TaskResult(unit="u")

    monkeypatch.setattr(ray_slots, "run_task", run_share)
    process: Any = ray_slots.Worker()
    for share in (0.25, 1.0, 0.5):
        try:
            process.run(share)
        except MemoryError:
            continue
    assert cuda.calls == [0.25, "empty", 1.0, "empty", 0.5, "empty"]


def test_a_gpu_stage_has_a_key_of_its_own_and_never_runs_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plan_for("cpu"):
        cpu, plain = Stage(kind="sft", gpus=0.5), Stage(kind="evaluate")
    with plan_for("cuda"):
        gpu, smaller = (Stage(kind="sft", gpus=share) for share in (0.5, 0.25))
        assert Stage(kind="evaluate").key == plain.key
    assert (cpu.gpus, gpu.gpus) == (0.0, 0.5)
    assert cpu.key == Stage(kind="sft").key
    assert gpu.key == smaller.key != cpu.key
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    unit = Unit(stages=(gpu,), parents=frozenset())
    result = run_task(make_task(unit, store=tmp_path, job=Job(out=tmp_path)))
    assert "planned for a GPU, and PyTorch finds none" in result.message


@pytest.mark.slow
@pytest.mark.parametrize("process", ["gcs_server", "agent"])  # the next test kills the raylet
def test_a_lost_ray_is_started_again_once(tmp_path: Path, commands: Path, process: str) -> None:
    (commands / "0").write_text(f"kill {process} once")
    (commands / "1").write_text("")
    todo = plan_trials(commands)
    summary = run_trials(tmp_path, todo, lambda: RayExecutor(num_cpus=2))
    assert summary.exit_code == 0
    result = find_result(tmp_path / "results", todo[0].id)
    assert result is not None
    assert {attempt.failure for attempt in result.attempts} == {"worker died"}


@pytest.mark.slow
def test_a_ray_that_is_lost_twice_ends_the_run_with_a_sentence(
    tmp_path: Path, commands: Path
) -> None:
    (commands / "0").write_text("kill raylet")
    todo = plan_trials(commands, seeds=1, rows=("popularity",))
    summary = run_trials(tmp_path, todo, lambda: RayExecutor(num_cpus=1))
    assert (len(summary.ok) + len(summary.skipped), summary.exit_code) == (2, 1)
    assert "Ray died on this machine (raylet)" in summary.skipped[todo[1].id]


def test_waiting_for_a_node_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoNode:
        def has_capacity(self, request: ResourceRequest) -> bool:
            return False

        def close(self) -> list[TaskResult]:
            return []

    monkeypatch.setattr(loop, "MAX_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.01)
    no_node: Any = NoNode()
    summary = run_trials(tmp_path, plan_trials(rows=("random",), seeds=1), lambda: no_node)
    assert summary.exit_code == 1
    assert "No node of the cluster could take a task" in next(iter(summary.skipped.values()))


def test_prints_of_stages_are_bounded_and_removed(tmp_path: Path) -> None:
    session = RaySession(address=None, num_cpus=1)
    folder = Path(session._node.get_session_dir_path())
    try:

        def chatter() -> None:
            for _ in range(800):
                print("x" * 10_000)

        ray_slots.ray.get(ray_slots.ray.remote(chatter).remote())
        logs = sum(path.stat().st_size for path in (folder / "logs").glob("worker-*"))
        assert 0 < logs < 4 * ray_session.MAX_LOG_BYTES
    finally:
        session.close()
    assert not folder.exists()


def test_sessions_of_ended_drivers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_process.tempfile, "gettempdir", lambda: str(tmp_path))
    parent = ray_process.remove_old_sessions()
    ended = subprocess.Popen(["true"])
    ended.wait()
    for number in (ended.pid, os.getpid()):
        (parent / f"session_2026-01-01_00-00-00_000000_{number}").mkdir(parents=True)
    ray_process.remove_old_sessions()
    assert [path.name.rpartition("_")[2] for path in parent.iterdir()] == [str(os.getpid())]
