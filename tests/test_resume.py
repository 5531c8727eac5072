"""Killed and run again: nothing finished is lost, and the table is the same to the byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from scripted_runs import call_json, list_artifacts

RUN = ("run", "--board", "smoke", "--seeds", "2", "--set", "sasrec.num_train_epochs=60")
INLINE = ("--executor", "inline")


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bench.cli", *RUN, *options, "--json"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(folder: Path) -> dict[str, dict[str, int]]:
    """Run the same board in this process; the executor changes no result."""
    content: dict[str, dict[str, int]] = call_json(folder, *RUN, *INLINE)
    return content


def report(folder: Path) -> Any:
    return call_json(folder, "report")


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 120) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the run ended too early: {process.communicate()}"
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(folder)["trials"] == {"ok": 6, "failed": 0, "skipped": 0}
    return folder


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> tuple[Any, int]:
    """The report of that run, and its number of stages."""
    return report(whole), len(list_artifacts(whole))


def test_a_killed_driver_loses_nothing(tmp_path: Path, undisturbed: tuple[Any, int]) -> None:
    expected, num_stages = undisturbed
    process = start(tmp_path / "w")
    wait_for(lambda: len(list_artifacts(tmp_path / "w")) >= 6, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = list_artifacts(tmp_path / "w")
    summary = finish(tmp_path / "w")
    assert summary["stages"]["reused"] >= len(made)
    assert summary["stages"]["run"] + summary["stages"]["reused"] == num_stages
    assert report(tmp_path / "w") == expected


def test_a_killed_worker_costs_one_stage(tmp_path: Path, undisturbed: tuple[Any, int]) -> None:
    expected, num_stages = undisturbed
    process = start(tmp_path / "w")

    def busy() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "ray::Worker.run" in " ".join(_command(child))]

    building = tmp_path / "w" / ".bench" / "store" / ".building"
    wait_for(lambda: any(building.glob("sasrec-*")) and busy(), process)  # the longest stage
    for worker in busy():
        os.kill(worker.pid, signal.SIGKILL)
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert json.loads(out)["stages"]["run"] == num_stages
    assert report(tmp_path / "w") == expected
    retried = [
        attempt["failure"]
        for path in (tmp_path / "w" / "results").glob("synthetic/*/*/seed-*.json")
        for attempt in json.loads(path.read_text())["attempts"]
    ]
    assert set(retried) == {"worker died"}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGHUP, INLINE)]
)
def test_a_stopped_run_says_by_what_and_the_next_run_resumes(
    tmp_path: Path,
    undisturbed: tuple[Any, int],
    number: signal.Signals,
    options: tuple[str, ...],
) -> None:
    expected, _ = undisturbed
    process = start(tmp_path / "w", *options)
    wait_for(lambda: len(list_artifacts(tmp_path / "w")) >= 6, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + number
    assert "***" not in errors  # no C++ stack
    made = list_artifacts(tmp_path / "w")
    summary = finish(tmp_path / "w")
    assert summary["stages"]["reused"] >= len(made)
    assert report(tmp_path / "w") == expected


def test_two_drivers_share_the_work(tmp_path: Path, undisturbed: tuple[Any, int]) -> None:
    expected, num_stages = undisturbed
    both = [start(tmp_path / "w"), start(tmp_path / "w", *INLINE)]
    ran = 0
    for process in both:
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        ran += json.loads(out)["stages"]["run"]
    assert ran == num_stages
    assert report(tmp_path / "w") == expected


def test_damaged_results_are_written_again_from_the_store(
    tmp_path: Path, whole: Path, undisturbed: tuple[Any, int]
) -> None:
    expected, _ = undisturbed
    folder = tmp_path / "w"
    shutil.copytree(whole, folder)
    results = sorted((folder / "results" / "synthetic").rglob("seed-*.json"))
    results[0].write_text("")
    results[1].write_text(results[1].read_text()[:100])
    results[2].with_suffix(".cases.parquet").write_bytes(b"PAR1")
    assert finish(folder)["stages"]["run"] == 0
    assert report(folder) == expected
    aside = sorted(path.name.split(".")[0] for path in (folder / "results" / ".aside").iterdir())
    assert aside == sorted(path.stem for path in results[:3])
