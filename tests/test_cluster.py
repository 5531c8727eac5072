"""Several nodes, several drivers: one store for all, slots that stay free, a node that dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout
from scripted_runs import call_json, plan_trials, run_trials, start_cluster
from stage_runs import make_config
from test_estimate import plan_graph
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan.device import plan_for
from bench.plan.graph import Unit, build_graph
from bench.plan.stage import Stage
from bench.results.schema import find_result
from bench.runner import run_directory
from bench.runner.executors import Executor, InlineExecutor
from bench.runner.resources import ResourceEstimator, ResourceRequest
from bench.runner.stage_history import StageHistory
from bench.runner.store import Store
from bench.runner.worker import make_task, run_task

COMMAND = [sys.executable, "-m", "bench.cli"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs, and two nodes with one each."""
    made = start_cluster(num_cpus=0)
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.mark.parametrize("option", ["--store", "--results", "--out", "--data-dir"])
def test_a_url_is_no_folder(option: str) -> None:
    words = ["run", "--suite", "smoke", option, "s3://bucket/bench"]
    with pytest.raises(BenchError, match="s3://bucket/bench is a URL") as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert "Mount it" in caught.value.hint


def test_a_node_that_does_not_see_the_store_says_so(tmp_path: Path) -> None:
    (trial,) = plan_trials(rows=("popularity",), seeds=1)
    stage = trial.evaluations["final"]
    unit = Unit(stages=(stage,), parents=frozenset())
    elsewhere = tmp_path / "not mounted here"
    folder = elsewhere / run_directory.RUNS / "1"
    task = make_task(unit, store=elsewhere, job=Job(out=elsewhere), run_directory=folder)
    result = run_task(task)
    assert result.failure == "error"
    assert f"does not see the store {elsewhere}" in result.message
    assert result.trace == ""
    assert not elsewhere.exists()  # nothing was computed on another disk


class TestTwoDrivers:
    """The other driver is this test, which holds the lock of a stage as a worker of it would."""

    @pytest.fixture(params=["inline", "ray"])
    def one_slot(self, request: pytest.FixtureRequest) -> Iterator[Callable[[], Executor]]:
        if request.param == "inline":
            yield InlineExecutor
            return
        from bench.runner.ray_executor import RayExecutor

        yield lambda: RayExecutor(num_cpus=1)

    def test_a_slot_stays_free_while_the_other_works(
        self, tmp_path: Path, one_slot: Callable[[], Executor]
    ) -> None:
        todo = plan_trials(rows=("popularity", "random"), seeds=1)
        held, free = todo
        ranking = held.evaluations["final"].inputs["ranking"]
        begun = threading.Event()
        meanwhile: list[bool] = []

        def other_driver() -> None:
            with Store(tmp_path / "store").lock(ranking.kind, ranking.key):
                begun.set()
                until = time.monotonic() + 60
                ended = False
                while not ended and time.monotonic() < until:
                    time.sleep(0.05)
                    ended = find_result(tmp_path / "results", free.id) is not None
                meanwhile.append(ended)

        thread = threading.Thread(target=other_driver)
        thread.start()
        begun.wait()
        summary = run_trials(tmp_path, todo, one_slot)
        thread.join()
        assert meanwhile == [True]  # the one slot did other work while the stage was being made
        assert len(summary.ok) == 2
        log = run_directory.read_events(tmp_path / "results" / "logs" / f"{held.id}.jsonl")
        assert "waiting" in [event["event"] for event in log]

    def test_a_task_without_a_run_waits(self, tmp_path: Path) -> None:
        (trial,) = plan_trials(rows=("popularity",), seeds=1)
        store = Store(tmp_path)
        stages = tuple(build_graph([trial]).stages.values())
        unit = Unit(stages=stages, parents=frozenset())
        task = make_task(unit, store=tmp_path, job=Job(out=tmp_path))
        begun = threading.Event()

        def other_driver() -> None:
            with store.lock(stages[0].kind, stages[0].key):
                begun.set()
                time.sleep(1.0)

        threading.Thread(target=other_driver).start()
        begun.wait()
        started = time.monotonic()
        assert run_task(task).failure is None
        assert time.monotonic() - started > 0.9


class TestResourceRequests:
    @pytest.fixture(autouse=True)
    def gpu(self) -> Iterator[None]:
        with plan_for("cuda"):
            yield

    def stage(self, seed: int, gpus: float = 1.0) -> Stage:
        args = {"recipe": {"seed": seed, "epochs": 2}}
        base = Stage(kind="draw", config=make_config(seed=0))
        return Stage(kind="sasrec", config=make_config(**args), inputs={"data": base}, gpus=gpus)

    def keep(self, store: Store, stage: Stage, **peaks: float) -> None:
        for source in stage.inputs.values():
            self.keep(store, source, peak_memory_mib=1.0)
        with store.building(stage.kind, stage.key) as folder:
            inputs = {name: source.key for name, source in stage.inputs.items()}
            device = "cuda" if stage.gpus else "cpu"
            meta = {"args": stage.args, "inputs": inputs, "device": device, "seconds": 1.0, **peaks}
            store.commit(stage.kind, stage.key, folder, meta)

    def estimate(self, store: Store, *stages: Stage) -> ResourceRequest:
        estimator = ResourceEstimator(StageHistory([store], plan_graph(*stages)))
        return estimator.estimate(Unit(stages=stages, parents=frozenset()))

    def test_the_card_decides_what_was_never_measured(self, tmp_path: Path) -> None:
        request = self.estimate(Store(tmp_path), self.stage(0, gpus=0.5))
        assert request == ResourceRequest(threads=1, gpus=0.5, memory_mib=0.0)

    def test_other_seeds_tell(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        gpu = {"peak_gpu_memory_mib": 20000.0, "gpu_memory_mib": 80000.0}
        self.keep(store, self.stage(0), peak_memory_mib=900.0, **gpu)
        request = self.estimate(store, self.stage(1))
        # 1.1 × 20,000 MiB and 600 for CUDA itself are 28.25 % of 80,000: three fit.
        assert (request.gpus, request.memory_mib) == (0.3333, 900.0)
        other = Stage(kind="sasrec", config=make_config(recipe={"seed": 1, "epochs": 3}), gpus=1.0)
        assert self.estimate(store, other).gpus == 1.0
        assert self.estimate(store, self.stage(1), other).gpus == 1.0
        assert self.estimate(store, self.stage(1, gpus=0.0)).gpus == 0.0

    def test_the_smallest_gpu_fraction_is_an_eighth(self, tmp_path: Path) -> None:
        gpu = {"peak_gpu_memory_mib": 100.0, "gpu_memory_mib": 80000.0}
        self.keep(Store(tmp_path), self.stage(0), peak_memory_mib=900.0, **gpu)
        assert self.estimate(Store(tmp_path), self.stage(1)).gpus == 0.125

    def test_a_run_measures(self, tmp_path: Path) -> None:
        (trial,) = todo = plan_trials(rows=("random",), seeds=1)
        run_trials(tmp_path, todo, InlineExecutor)
        (other,) = plan_trials(rows=("random",), seeds=2)[1:]
        assert other.evaluations["final"].key != trial.evaluations["final"].key
        request = self.estimate(Store(tmp_path / "store"), other.evaluations["final"])
        assert request.memory_mib > 50


@pytest.mark.slow
def test_threads_beyond_a_node_share_its_cpus(tmp_path: Path, cluster: Any) -> None:
    from bench.runner.ray_slots import SlotExecutor

    executor = SlotExecutor(address=cluster.address)
    try:
        request = ResourceRequest(threads=8, gpus=1.0, memory_mib=10.0**9)
        assert executor.has_capacity(ResourceRequest(threads=8))  # two nodes with one CPU each
        cpus, gpus, memory_mib = executor._fit_to_node(request)
        assert (cpus, gpus) == (1.0, 1.0)  # it waits for a node with a GPU
        assert 0 < memory_mib < 10.0**9
    finally:
        executor.close()


@pytest.mark.slow
def test_a_killed_node_changes_nothing(tmp_path: Path, cluster: Any) -> None:
    words = ["--board", "smoke", "--seeds", "3", "--set", "sasrec.num_train_epochs=60"]

    quiet, stormy = tmp_path / "quiet", tmp_path / "stormy"
    call_json(quiet, "run", *words, "--executor", "inline")
    stormy.mkdir()
    command = [*COMMAND, "run", *words, "--address", cluster.address, "--json"]
    process = subprocess.Popen(
        command, cwd=stormy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    building = stormy / ".bench" / "store" / ".building"
    while len(list(building.glob("sasrec-*"))) < 2:  # both nodes train
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)
    victim = next(iter(cluster.worker_nodes))
    cluster.remove_node(victim, allow_graceful=False)
    out, errors = process.communicate(timeout=240)
    cluster.add_node(num_cpus=1)
    assert process.returncode == 0, errors
    assert json.loads(out)["trials"] == {"ok": 9, "failed": 0, "skipped": 0}
    assert call_json(stormy, "report") == call_json(quiet, "report")
    failures = [
        json.loads(line)["failure"]
        for path in (stormy / "results" / "logs").rglob("*.jsonl")
        for line in path.read_text().splitlines()
        if json.loads(line)["event"] == "failed"
    ]
    assert failures
    assert set(failures) == {"worker died"}


def test_a_lock_is_seen_across_drivers(tmp_path: Path) -> None:
    """What polling stands on: a second opening of a lock's file in one process conflicts too."""
    one, two = (Store(tmp_path).lock("kind", "key") for _ in range(2))
    with one, pytest.raises(Timeout):
        two.acquire(timeout=0)
