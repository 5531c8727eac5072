"""SPRec killed inside its second round: the first round stands, and the metrics are the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from scripted_runs import call_json

ROUNDS = [
    *("run", "--method", "sprec", "--dataset", "synthetic", "--model", "tiny", "--budget", "smoke"),
    *("--seeds", "1", "--set", "num_rounds=2", "--executor", "inline"),
]


def artifacts(folder: Path) -> dict[str, float]:
    """When each artifact was made, by its place."""
    return {
        str(path.parent.relative_to(folder)): path.stat().st_mtime
        for path in folder.glob(".bench/store/[a-z]*/*/meta.json")
    }


def preferences(folder: Path) -> list[str]:
    return [place for place in artifacts(folder) if "/preference/" in place]


def test_a_kill_in_the_second_round_costs_one_stage(tmp_path: Path) -> None:
    undisturbed = call_json(tmp_path / "whole", *ROUNDS)["stages"]
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *ROUNDS],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 240
    while not preferences(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no round ended"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = artifacts(folder)
    assert len(preferences(folder)) == 1
    summary = call_json(folder, *ROUNDS)["stages"]
    assert summary["reused"] >= len(before)
    assert summary["run"] + summary["reused"] == undisturbed["run"]
    after = artifacts(folder)
    assert {place: after[place] for place in before} == before
    reports = [call_json(tmp_path / name, "report") for name in ("whole", "killed")]
    assert reports[0] == reports[1]
    weights = [
        {path.parent.name: path.read_bytes() for path in where.glob("*/model.safetensors")}
        for where in (tmp_path / name / ".bench/store/preference" for name in ("whole", "killed"))
    ]
    assert len(weights[0]) == 2
    assert weights[0] == weights[1]
