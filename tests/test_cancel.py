"""Runs in progress: heartbeats, cancel requests, event logs, retry."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_runs import install_method, plan_trials, run_trials, start_cluster
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import BenchError
from bench.results.schema import find_result
from bench.runner import run_directory
from bench.runner.executors import Executor, InlineExecutor
from bench.runner.loop import POLL_SECONDS
from bench.runner.run_directory import get_log_path, list_running
from bench.runner.store import Store
from bench.runner.worker import TaskResult


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_method(tmp_path, monkeypatch)


class Asking(InlineExecutor):
    """Asks the run, when its third unit is about to start, to leave something out."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__()
        self._folder, self._what, self._num = folder, what, 0

    def wait(self) -> list[TaskResult]:
        self._num += 1
        if self._num == 3:
            (run,) = run_directory.find_active_runs(
                self._folder / "store", self._folder / "results"
            )
            run.request_cancel(self._what)
        time.sleep(POLL_SECONDS)  # so that the loop looks after every unit
        return super().wait()


def events(folder: Path, trial: str) -> list[run_directory.Event]:
    return run_directory.read_events(get_log_path(folder / "results", trial))


def test_a_cancelled_trial_stops_alone(tmp_path: Path) -> None:
    todo = plan_trials(rows=("popularity", "random"), seeds=2)
    last = todo[-1].id
    summary = run_trials(tmp_path, todo, lambda: Asking(tmp_path, last))
    assert summary.skipped == {last: "cancelled with `bench cancel`"}
    assert (len(summary.ok), summary.exit_code, summary.stopped_by) == (3, 1, 0)
    result = find_result(tmp_path / "results", last)
    assert result is not None
    assert result.status == "skipped"
    done = {one["stage"] for one in events(tmp_path, last) if one["event"] == "ended"}
    assert "prepare" in done  # which the others needed too
    assert "evaluate" not in done
    assert events(tmp_path, last)[-1]["event"] == "cancelled"
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0


def test_a_cancelled_run_records_what_has_ended_and_the_next_resumes(tmp_path: Path) -> None:
    todo = plan_trials(rows=("popularity", "random"), seeds=2)
    before = signal.getsignal(signal.SIGINT)
    try:
        summary = run_trials(tmp_path, todo, lambda: Asking(tmp_path, run_directory.ALL_TRIALS))
    finally:
        signal.signal(signal.SIGINT, before)
    assert summary.exit_code == 130
    assert 0 < len(summary.ok) < 4
    assert not list((tmp_path / "store" / run_directory.RUNS).iterdir())
    again = run_trials(tmp_path, todo, InlineExecutor)
    assert (len(again.ok), again.stages_reused) == (4, summary.stages_run)


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[], Executor]]:
    from bench.runner.ray_executor import RayExecutor

    node = start_cluster(num_cpus=2)
    yield lambda: RayExecutor(address=node.address)
    node.shutdown()


def test_a_trial_that_hangs_is_stopped_on_ray(
    tmp_path: Path, commands: Path, make: Callable[[], Executor]
) -> None:
    (commands / "0").write_text("hang")
    todo = plan_trials(commands, rows=("popularity",), seeds=1)
    hanging = todo[-1].id

    def executor() -> Executor:
        made = make()
        wait = made.wait

        def asking() -> list[TaskResult]:
            (run,) = run_directory.find_active_runs(tmp_path / "store", tmp_path / "results")
            stages = [
                one["stage"] for one in list_running(run.folder) if hanging in one["description"]
            ]
            if stages == ["rank"] and not run_directory.read_cancel_requests(run.folder):
                run.request_cancel(hanging)
            return wait()

        made.wait = asking  # type: ignore[method-assign]
        return made

    summary = run_trials(tmp_path, todo, executor)
    assert list(summary.skipped) == [hanging]
    assert len(summary.ok) == 1
    log = [(one["event"], one.get("stage")) for one in events(tmp_path, hanging)]
    assert log[-2:] == [("started", "rank"), ("cancelled", None)]


def test_the_log_has_every_attempt(tmp_path: Path, commands: Path) -> None:
    (commands / "0").write_text("memory once")
    (trial,) = todo = plan_trials(commands, seeds=1)
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0
    ranked = [one for one in events(tmp_path, trial.id) if one.get("stage") == "rank"]
    log = [(one["event"], one["attempt"]) for one in ranked]
    assert log == [("started", 1), ("failed", 1), ("started", 2), ("ended", 2)]
    assert ranked[1]["failure"] == "out of memory"
    assert "instructed to run out of memory" in ranked[1]["error"]
    assert "Traceback" in ranked[1]["trace"]
    assert all({"time", "host", "pid"} <= one.keys() for one in ranked)
    assert ranked[3]["seconds"] > 0


def test_what_is_stored_already_is_logged_as_reused(tmp_path: Path) -> None:
    todo = plan_trials(rows=("random",), seeds=2)
    run_trials(tmp_path, todo[:1], InlineExecutor)
    run_trials(tmp_path, todo, InlineExecutor)
    log = {one["stage"]: one["event"] for one in events(tmp_path, todo[1].id)}
    assert log["prepare"] == "reused"
    # A trial that has ended is left alone.
    assert all(one["event"] == "ended" for one in events(tmp_path, todo[0].id)[1::2])


def test_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "HEARTBEAT_SECONDS", 0.05)
    store, results = tmp_path / "store", tmp_path / "results"
    with run_directory.open_run_directory(store, results, ["t"]) as folder:
        fields = {"description": "a thing", "attempt": 2}
        with run_directory.send_heartbeats(folder, "u", **fields) as log_event:
            log_event("started", stage="rank")
            path = run_directory.get_events_path(folder, "u")
            before = path.stat().st_mtime_ns
            time.sleep(0.5)
            assert path.stat().st_mtime_ns > before
            (run,) = run_directory.find_active_runs(store, results)
            (unit,) = list_running(run.folder)
            assert (unit["description"], unit["stage"], unit["attempt"]) == ("a thing", "rank", 2)
            assert unit["seconds"] >= 0.4
            assert unit["seconds_since_heartbeat"] < 0.4
        assert run_directory.find_active_runs(store, tmp_path / "others") == []
    assert run_directory.find_active_runs(store, results) == []


def test_a_killed_run_is_recognized(tmp_path: Path) -> None:
    folder = tmp_path / run_directory.RUNS / "dead"
    folder.mkdir(parents=True)
    about = run_directory.make_event("started", results=str(tmp_path / "r"), trials=[])
    (folder / "run.json").write_text(json.dumps(about))  # and nobody holds its lock
    assert run_directory.find_active_runs(tmp_path, tmp_path / "r") == []
    run_directory.remove_stale(Store(tmp_path))
    assert not folder.exists()


def test_the_command_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="No active run"):
        CliRunner().invoke(app, ["cancel"], catch_exceptions=False)
    with run_directory.open_run_directory(
        Path(".bench/store").absolute(), Path("results"), ["d/m/h/seed-0"]
    ) as one:
        with pytest.raises(BenchError, match="no unfinished trial named 'd/m/h/seed-1'"):
            CliRunner().invoke(app, ["cancel", "d/m/h/seed-1"], catch_exceptions=False)
        assert run_directory.read_cancel_requests(one) == set()
        assert CliRunner().invoke(app, ["cancel", "d/m/h/seed-0"]).exit_code == 0
        assert run_directory.read_cancel_requests(one) == {"d/m/h/seed-0"}
        assert CliRunner().invoke(app, ["cancel"]).exit_code == 0
        assert run_directory.read_cancel_requests(one) == {"d/m/h/seed-0", run_directory.ALL_TRIALS}


def test_retry_needs_no_options(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="There was no run"):
        CliRunner().invoke(app, ["retry"], catch_exceptions=False)
    (commands / "1").write_text("error")
    words = ["--method", "scripted", "--method", "popularity", "--dataset", "synthetic"]
    more = ["--seeds", "2", "--budget", "smoke", "--set", f"scripted.folder={commands}", "--json"]
    ran = CliRunner().invoke(app, ["run", *words, *more, "--executor", "inline"])
    assert ran.exit_code == 1, ran.output
    (lost,) = json.loads(ran.stdout)["lost"]
    assert "instructed to fail" in Path(lost["log"]).read_text()
    (commands / "1").unlink()
    monkeypatch.chdir(tmp_path.parent)
    words = ["retry", "--failed", "--json", "--results", str(tmp_path / "results")]
    again = json.loads(CliRunner().invoke(app, words).stdout)
    assert again["trials"] == {"ok": 1, "failed": 0, "skipped": 0}
    assert again["stages"]["run"] == 2
    assert not (tmp_path.parent / "results").exists()
    nothing = json.loads(CliRunner().invoke(app, words).stdout)
    assert nothing["trials"]["ok"] == 0
