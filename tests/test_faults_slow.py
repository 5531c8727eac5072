"""Faults from outside a run: real full and read-only disks, signals, no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from scripted_runs import call_json
from test_runner import plan_trials, run_trials

from bench.runner.executors import InlineExecutor
from bench.runner.store import ASIDE, META

pytestmark = pytest.mark.slow

BENCH = (sys.executable, "-m", "bench.cli")
WORDS = (
    *("run", "--method", "popularity", "--method", "random", "--dataset", "synthetic"),
    *("--budget", "smoke", "--seeds", "3", "--executor", "inline"),
)
RUN = (*BENCH, *WORDS, "--json")


def run_command(
    *command: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    call_json(folder, *WORDS)
    return call_json(folder, "report")


# --- real disks ---------------------------------------------------------------------------------


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """A folder to mount things on, for processes that see mounts of their own."""
    (tmp_path / "probe").mkdir()
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "probe", str(tmp_path / "probe")]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no mounts of one's own here: needs Linux, unshare and user namespaces")
    return tmp_path / "w"


def mounted(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    lines = script.replace("RUN", " ".join(RUN)).replace("BENCH", " ".join(BENCH))
    return run_command("unshare", "-rm", "sh", "-c", lines, folder=folder)


@pytest.mark.parametrize(("place", "size"), [("results", "48k"), (".bench", "160k")])
def test_a_full_disk_is_a_clear_error_and_the_next_run_resumes(
    mounts: Path, undisturbed: Any, place: str, size: str
) -> None:
    done = mounted(
        mounts,
        f"mkdir {place}; mount -t tmpfs -o size={size} small {place}; RUN > first; echo $? > code\n"
        f"cp -r {place} kept; mount -o remount,size=64m {place}; RUN > second\n"
        f"cp -r {place} after",
    )
    assert done.returncode == 0, done.stderr
    assert (mounts / "code").read_text().strip() in ("1", "2"), "it was no full disk"
    assert "No space left on device" in done.stderr + (mounts / "first").read_text()
    assert "Traceback" not in done.stderr
    assert json.loads((mounts / "second").read_text())["trials"]["ok"] == 6
    shutil.copytree(mounts / "after", mounts / place, dirs_exist_ok=True)  # the mount has gone
    assert call_json(mounts, "report") == undisturbed
    for path in (mounts / "kept").rglob("seed-*.json"):
        json.loads(path.read_bytes())
    committed = [path.relative_to(mounts / "kept") for path in (mounts / "kept").rglob(META)]
    complete = [path for path in committed if ".building" not in path.parts]
    for path in complete:
        kept, after = (mounts / name / path for name in ("kept", "after"))
        assert kept.read_bytes() == after.read_bytes(), "a finished stage was made again"
    assert complete or place == "results"
    assert not list(mounts.rglob(ASIDE))


@pytest.mark.parametrize("place", ["results", ".bench/pages", ".bench/store"])
def test_a_read_only_folder_is_a_clear_error(mounts: Path, place: str) -> None:
    done = mounted(
        mounts,
        f"mkdir -p {place}; mount --bind {place} {place}; mount -o remount,ro,bind {place}; RUN",
    )
    assert done.returncode == 2, done.stderr
    assert re.match(r"Error: --\w+ \S+ cannot be written: Read-only file system", done.stderr)
    assert "Hint: Name another folder." in done.stderr
    assert "Traceback" not in done.stderr


# --- signals ------------------------------------------------------------------------------------

STUBBORN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_runner import run_trials, plan_trials
from bench.runner.executors import InlineExecutor

class Stubborn(InlineExecutor):
    waits = 0
    def wait(self):
        self.waits += 1
        if self.waits == 3:
            print("WORKING", flush=True)
            time.sleep(60)
        return super().wait()
    def close(self):
        print("STOPPING", flush=True)
        time.sleep(60)
        return []

run_trials(Path(sys.argv[1]), plan_trials(rows=("popularity", "random")), Stubborn)
"""


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUBBORN, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for word in ("WORKING", "STOPPING"):
        assert process.stdout.readline().strip() == word
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=50) == 130  # before either sleep ends
    process.stdout.close()
    again = run_trials(tmp_path, plan_trials(rows=("popularity", "random")), InlineExecutor)
    assert (again.exit_code, len(again.ok)) == (0, 4)
    assert again.stages_reused > 0


def test_a_killed_drivers_processes_end_by_themselves(tmp_path: Path) -> None:
    command = (*BENCH, "run", "--board", "smoke", "--set", "sasrec.num_train_epochs=500")
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    building = tmp_path / ".bench" / "store" / ".building"
    until = time.monotonic() + 120
    while not list(building.glob("sasrec-*")):
        assert process.poll() is None
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=180)
    assert not alive


# --- no network ---------------------------------------------------------------------------------


def test_a_missing_model_fails_only_its_own_trial(tmp_path: Path) -> None:
    command = (
        *(*BENCH, "run", "--method", "zeroshot", "--method", "popularity", "--model"),
        *("llama-3.2-1b-instruct", "--dataset", "synthetic", "--budget", "smoke", "--seeds", "1"),
        *("--offline", "--executor", "inline"),
    )
    hub = str(tmp_path / "hub")
    refused = run_command(*command, folder=tmp_path, HF_HOME=hub)
    assert (refused.returncode, "Nothing was run or written." in refused.stderr) == (2, True)
    done = run_command(*command, "--keep-going", folder=tmp_path, HF_HOME=hub)
    assert done.returncode == 1, done.stderr
    assert "1 trials ok" in done.stdout
    said = " ".join(done.stdout.split())
    assert "--offline forbids" in said
    assert "--model-path" in said
    assert "Traceback" not in done.stdout + done.stderr
