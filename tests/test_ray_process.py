"""Ray in a watched process: whatever happens to it there, the driver is told soon and survives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from scripted_runs import install_method
from test_slots import make_task_of

from bench.errors import BenchError
from bench.runner import ray_executor, ray_process, ray_session
from bench.runner.executors import ExecutorLostError
from bench.runner.ray_executor import RayExecutor
from bench.runner.ray_process import RayProcess
from bench.runner.ray_session import RaySession
from bench.runner.resources import ResourceRequest

FAKE = "fake_ray:Slots"
FAULTS = {
    "lose_head": "Ray died on this machine (gcs_server)",
    "die": "The process that runs Ray died",
    "hang": "Ray has not answered in time",
}


@pytest.fixture(autouse=True)
def fake_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("FAKE_RAY_FOLDER", str(tmp_path))
    monkeypatch.setenv("FAKE_RAY", "")
    monkeypatch.setattr(ray_process.tempfile, "gettempdir", lambda: str(tmp_path))
    return lambda words: monkeypatch.setenv("FAKE_RAY", words)


@pytest.fixture
def process() -> Iterator[RayProcess]:
    made = RayProcess(FAKE)
    yield made
    made.end(seconds=0)


def count_starts(folder: Path) -> int:
    return len(list(folder.glob("started-*")))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_ray_is_told_in_a_call(process: RayProcess, fault: str) -> None:
    with pytest.raises(ExecutorLostError) as told:
        process.call(fault, seconds=1.0 if fault == "hang" else 300.0)
    assert FAULTS[fault] in told.value.message
    assert told.value.exit_code == 1


@pytest.mark.parametrize("fault", ["lose_head", "die"])
def test_a_ray_that_is_lost_while_it_starts_is_started_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_ray: Callable[[str], None], fault: str
) -> None:
    monkeypatch.setattr(ray_executor, "SLOTS", FAKE)
    fake_ray(fault)
    executor = RayExecutor(num_cpus=1)
    assert executor.has_capacity(ResourceRequest(threads=1))
    assert executor.close() == ["ended"]
    assert count_starts(tmp_path) == 2
    fake_ray(f"start start {fault} {fault} {fault}")
    with pytest.raises(ExecutorLostError) as told:
        RayExecutor(num_cpus=1)
    assert FAULTS[fault] in told.value.message
    assert count_starts(tmp_path) == 4
    with pytest.raises(ExecutorLostError):
        RayExecutor(address="cluster:1")  # which is not ours to start again
    assert count_starts(tmp_path) == 5


def test_what_a_lost_ray_ran_is_a_dead_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "SLOTS", FAKE)
    task = make_task_of(install_method(tmp_path, monkeypatch), tmp_path, 0)
    executor = RayExecutor(num_cpus=1)
    executor.submit(task)
    assert executor.wait() == []
    with contextlib.suppress(ExecutorLostError):
        executor._process.call("die")  # type: ignore[union-attr]
    (result,) = executor.wait()
    assert (result.unit, result.failure) == (task.unit, "worker died")
    assert executor.wait() == []
    executor.close()


def test_a_ray_that_does_not_start_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise Exception("timed out during startup")

    monkeypatch.setattr(ray_session.ray, "init", fail)
    with pytest.raises(ExecutorLostError, match="Ray could not start: timed out"):
        RaySession(address=None)
    with pytest.raises(BenchError) as told:
        RaySession(address="cluster:1")
    assert told.value.exit_code == 2


def test_an_error_of_ray_is_a_sentence(process: RayProcess) -> None:
    with pytest.raises(BenchError, match="Ray failed: ValueError: instructed to fail"):
        process.call("fail")
    assert process.call("has_capacity", None) is True


def test_what_ended_during_an_interrupted_call_is_not_lost(process: RayProcess) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    poll = process._pipe.poll
    process._pipe.poll = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        process.call("stop")
    process._pipe.poll = poll  # type: ignore[method-assign]
    assert process.call("wait") == []
    assert process.unread == [["ended"]]


DRIVER = """
import sys, time
from bench.runner.ray_process import RayProcess
process = RayProcess("fake_ray:Slots")
print("READY", flush=True)
process.call("hang")
"""


def test_the_child_ends_with_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"READY\n"
    (child,) = psutil.Process(driver.pid).children()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=4 * ray_process.END_SECONDS)
    assert not alive


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "delay"), [("gcs_server", 0.0), ("gcs_server", 0.5), ("raylet", 0.5), ("python", 0.0)]
)
def test_ray_itself_is_killed_while_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, delay: float
) -> None:
    """The head, the raylet, or one of Python's processes under it, as soon as it is there."""
    monkeypatch.undo()
    task = make_task_of(install_method(tmp_path, monkeypatch), tmp_path, 0)

    def kill_first() -> None:
        driver = psutil.Process()
        while True:
            for child in driver.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if child.name().startswith(name) and child.ppid() != driver.pid:
                        time.sleep(delay)
                        child.kill()
                        return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_first, daemon=True)
    killer.start()
    executor = RayExecutor(num_cpus=1)
    try:
        killer.join()
        failures = ["worker died"]
        while failures[-1] == "worker died":
            executor.submit(task)
            while not (results := executor.wait()):
                pass
            failures += [str(result.failure) for result in results]
        assert failures[-1] == "None"
        assert executor._num_restarts <= 1
    finally:
        executor.close()


@pytest.mark.slow
def test_a_worker_that_dies_while_it_starts_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "5")
    task = make_task_of(install_method(tmp_path, monkeypatch), tmp_path, 0)

    def list_processes(*words: str) -> list[psutil.Process]:
        processes = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                # The raylet has the command of its workers in one of its later arguments.
                start = " ".join(process.cmdline()[:4])
                processes += [process] if any(word in start for word in words) else []
        return processes

    executor = RayExecutor(num_cpus=1)
    try:
        # If some were started beforehand and one of them died, the driver would wait for ever.
        assert not list_processes("/default_worker.py", "ray::IDLE")
        executor.submit(task)
        while not (workers := list_processes("/default_worker.py")):
            time.sleep(0.02)
        workers[0].kill()
        while not (results := executor.wait()):
            pass
        assert [result.failure for result in results] == [None]
        assert executor._num_restarts == 0
    finally:
        executor.close()
