"""Progress of a run: what stages report, and what a run shows of it with and without a terminal."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench.models import progress
from bench.models.progress import clear_progress, describe_progress, report_progress
from bench.runner import run_directory, run_progress
from bench.runner.run_progress import RunProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clear_progress()
    yield now
    clear_progress()


def test_a_report_has_rate_and_remaining_time(clock: list[float]) -> None:
    assert describe_progress() == ""
    report_progress(10, 1200, "steps", tokens=2_000)
    assert describe_progress() == "10 of 1,200 steps"
    clock[0] += 4
    report_progress(50, 1200, "steps", tokens=10_000)
    assert describe_progress() == "50 of 1,200 steps, 2,000 tokens/s, 1 min 55 s left"
    report_progress(1, 8, "epochs at most")  # the next stage of the unit
    assert describe_progress() == "1 of 8 epochs at most"


def test_the_heartbeat_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "HEARTBEAT_SECONDS", 0.01)
    clear_progress()
    with run_directory.send_heartbeats(tmp_path, "u1", description="bigrec", attempt=1) as log:
        log("started", stage="sft", key="k")
        report_progress(3, 7, "steps")
        deadline = time.monotonic() + 20
        while not (units := run_directory.list_running(tmp_path)) or not units[0]["progress"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert (units[0]["stage"], units[0]["progress"]) == ("sft", "3 of 7 steps")
    clear_progress()


@pytest.mark.parametrize("remaining", [None, 605.0])
def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remaining) -> None:
    unit = {"description": "bigrec-0", "stage": "sft", "progress": "3 of 7 steps", "seconds": 75}
    monkeypatch.setattr(run_progress, "list_running", lambda folder: [unit])
    monkeypatch.setattr(run_progress, "LINE_SECONDS", 0.01)
    expected = "about 10 min" if remaining else "remaining time not known yet"
    for terminal in (True, False):
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=80)
        monkeypatch.setattr(run_progress, "Console", lambda console=console, **_: console)
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        with RunProgress(9, folder=tmp_path) as shown:
            shown.set_remaining(remaining)
            deadline = time.monotonic() + 20
            while expected not in output.getvalue():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        text = output.getvalue()
        assert "bigrec-0: sft, 3 of 7 steps, running for 1 min 15 s" in text
        assert ("[0/9]" in text) is not terminal
