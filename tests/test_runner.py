"""The contract of both executors, and how a run handles failures."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from scripted_runs import install_method, plan_trials, run_trials, start_cluster

from bench import stages
from bench.config.cards import BoardCard, BoardRow
from bench.hashing import Job
from bench.plan import trials
from bench.plan.graph import Unit, build_graph
from bench.plan.trials import Board, board_trials, collect_ks
from bench.results.schema import Attempt, find_result, read_cases, read_result
from bench.runner import out_of_memory, worker
from bench.runner.executors import Executor, InlineExecutor
from bench.runner.loop import RunOptions, run
from bench.runner.resources import count_cpus
from bench.runner.retry_policy import decide_retry
from bench.runner.store import Store
from bench.runner.worker import TaskResult, TaskSpec, make_task


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_method(tmp_path, monkeypatch)


def refuse() -> Executor:
    raise AssertionError("an executor was started although nothing is missing")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray node with two CPUs that all tests of this file join."""
    node = start_cluster(num_cpus=2)
    yield node.address
    node.shutdown()


@pytest.fixture
def ray_executor(cluster: str) -> Callable[..., Executor]:
    from bench.runner.ray_executor import RayExecutor

    return lambda: RayExecutor(address=cluster)


@pytest.fixture(params=["inline", "ray"])
def executor(request: pytest.FixtureRequest) -> Callable[..., Executor]:
    if request.param == "inline":
        return InlineExecutor
    made: Callable[..., Executor] = request.getfixturevalue("ray_executor")
    return made


def make_prepare_task(folder: Path) -> TaskSpec:
    graph = build_graph(plan_trials(rows=("popularity",), seeds=1))
    (stage,) = [stage for stage in graph.stages.values() if stage.kind == "prepare"]
    return make_task(Unit(stages=(stage,), parents=frozenset()), store=folder, job=Job(out=folder))


def test_an_executor_returns_the_result_of_a_task(
    tmp_path: Path, executor: Callable[..., Executor]
) -> None:
    running = executor()
    task = make_prepare_task(tmp_path)
    try:
        assert running.has_capacity(task.resources)
        running.submit(task)
        results: list[TaskResult] = []
        while not results:
            results = running.wait()
    finally:
        assert running.close() == []
    assert results == [TaskResult(unit=task.unit, computed=(task.stages[0].key,))]


def test_an_executor_returns_no_result_of_a_cancelled_task(
    tmp_path: Path, executor: Callable[..., Executor]
) -> None:
    running = executor()
    task = make_prepare_task(tmp_path)
    running.submit(task)
    running.cancel(task.unit)
    assert running.has_capacity(task.resources)
    assert running.close() == []


def test_results_and_resume(tmp_path: Path) -> None:
    todo = plan_trials(rows=("popularity", "random"))
    first = run_trials(tmp_path, todo, InlineExecutor)
    assert (len(first.ok), first.failed, first.skipped, first.exit_code) == (4, {}, {}, 0)
    second = run_trials(tmp_path, todo, refuse)
    assert (second.stages_run, second.stages_reused) == (0, first.stages_run)
    result = find_result(tmp_path / "results", todo[0].id)
    assert result is not None
    cases = read_cases(tmp_path / "results", todo[0].id)
    final = result.evaluations["final"]
    assert final.num_cases == len(cases.cases) == 64
    assert final.metrics["NDCG@5"] == pytest.approx(cases.values["NDCG@5"].mean())


def test_an_error_fails_only_its_own_trial(
    tmp_path: Path, commands: Path, executor: Callable[..., Executor]
) -> None:
    (commands / "0").write_text("error")
    todo = plan_trials(commands, rows=("popularity",))
    summary = run_trials(tmp_path, todo, executor)
    assert (len(summary.ok), summary.exit_code) == (3, 1)
    (failed, reason), *others = summary.failed.items()
    assert not others
    assert "ValueError: instructed to fail" in reason
    result = read_result(tmp_path / "results" / f"{failed}.json")
    assert (result.status, [a.failure for a in result.attempts]) == ("failed", ["error"])
    (commands / "0").unlink()
    again = run_trials(tmp_path, todo, executor)
    assert (again.exit_code, again.stages_run) == (0, 2)  # the failure was not cached


def test_nan_scores_are_an_error_with_the_case_named(tmp_path: Path, commands: Path) -> None:
    (commands / "0").write_text("nan")
    summary = run_trials(tmp_path, plan_trials(commands, seeds=1), InlineExecutor)
    assert "not finite for test case 0" in next(iter(summary.failed.values()))


def test_out_of_memory_is_retried_with_half_the_micro_batch(
    tmp_path: Path,
    commands: Path,
    executor: Callable[..., Executor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out_of_memory, "SPLITTING", {"rank"})
    (commands / "0").write_text("memory once")
    todo = plan_trials(commands, seeds=1)
    assert run_trials(tmp_path, todo, executor).exit_code == 0
    result = find_result(tmp_path / "results", todo[0].id)
    assert result is not None
    assert [(a.failure, a.micro_batch_divisor) for a in result.attempts] == [("out of memory", 1)]
    ranking = todo[0].evaluations["final"].inputs["ranking"]
    meta = Store(tmp_path / "store").meta(ranking.kind, ranking.key)
    assert meta is not None
    assert meta["micro_batch_divisor"] == 2


def test_a_hang_is_stopped_at_the_limit(tmp_path: Path, commands: Path) -> None:
    (commands / "0").write_text("hang")
    todo = plan_trials(commands, seeds=1, rows=("popularity",))
    run_trials(tmp_path, todo[:1], InlineExecutor)  # so that nothing else can be late
    summary = run_trials(tmp_path, todo, InlineExecutor, time_limit=2.0)
    assert len(summary.ok) == 1
    assert "longer than the limit" in next(iter(summary.failed.values()))


def test_a_hung_process_is_killed_and_its_trial_reports_it(
    tmp_path: Path,
    commands: Path,
    ray_executor: Callable[..., Executor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (commands / "0").write_text("ignore SIGTERM")
    todo = plan_trials(commands, seeds=1, rows=("popularity",))
    run_trials(tmp_path, todo[:1], InlineExecutor)
    executor = ray_executor()
    close = executor.close
    monkeypatch.setattr(executor, "close", list)  # which ends every process
    try:
        summary = run_trials(tmp_path, todo, lambda: executor, time_limit=15.0)
        hung = int((commands / "0").read_text())
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(hung).wait(timeout=60)
    finally:
        close()
    assert len(summary.ok) == 1
    (name,) = summary.failed
    (attempt,) = read_result(tmp_path / "results" / f"{name}.json").attempts
    assert attempt.failure == "timeout"
    assert "longer than the limit of" in attempt.message


def test_a_failed_shared_stage_skips_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "gone.toml"
    card.write_text(
        'title = "T"\ndescription = "D"\nlicense = "L"\ncitation = "C"\nreader = "recbole"\n'
        "[files]\n"
        'interactions = { name = "gone.inter" }\nitems = { name = "gone.item" }\n'
        '[fields]\nuser = "u"\nitem = "i"\ntime = "t"\ntitle = "{x}"\n'
    )
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    board = Board(
        name="t",
        card=BoardCard(
            title="T",
            datasets=("gone", "synthetic"),
            rows=(BoardRow(method="popularity"), BoardRow(method="random")),
            metrics=("HR@5",),
            seeds=1,
            budget="smoke",
        ),
    )
    todo = [trial for _, trial in board_trials(board, ks=collect_ks([board]))]
    assert todo[0].notes
    summary = run_trials(tmp_path, todo, InlineExecutor)
    assert len(summary.ok) == 2
    assert len(summary.skipped) == 2
    assert all("gone.inter" in reason for reason in summary.skipped.values())


def test_a_killed_worker_is_retried(
    tmp_path: Path, commands: Path, ray_executor: Callable[..., Executor]
) -> None:
    (commands / "0").write_text("die once")
    todo = plan_trials(commands, seeds=1)
    assert run_trials(tmp_path, todo, ray_executor).exit_code == 0
    result = find_result(tmp_path / "results", todo[0].id)
    assert result is not None
    assert [attempt.failure for attempt in result.attempts] == ["worker died"]


def test_a_worker_that_always_dies_is_given_up(
    tmp_path: Path, commands: Path, ray_executor: Callable[..., Executor]
) -> None:
    (commands / "0").write_text("die")
    todo = plan_trials(commands, seeds=1, rows=("popularity",))
    summary = run_trials(tmp_path, todo, ray_executor)
    assert len(summary.ok) == 1
    result = read_result(tmp_path / "results" / f"{next(iter(summary.failed))}.json")
    assert [attempt.failure for attempt in result.attempts] == ["worker died"] * 3


def test_ctrl_c_records_what_has_ended_and_the_next_run_resumes(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(InlineExecutor):
        waits = 0

        def wait(self) -> list:
            Interrupting.waits += 1
            if Interrupting.waits == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().wait()

    todo = plan_trials(rows=("popularity", "random"))
    before = signal.getsignal(signal.SIGINT)
    try:
        summary = run_trials(tmp_path, todo, Interrupting)
    finally:
        signal.signal(signal.SIGINT, before)
    assert summary.exit_code == 130
    assert 0 < len(summary.ok) < 4
    again = run_trials(tmp_path, todo, InlineExecutor)
    assert (len(again.ok), again.stages_reused) == (4, summary.stages_run)


def test_both_executors_give_equal_metrics(
    tmp_path: Path, ray_executor: Callable[..., Executor]
) -> None:
    todo = plan_trials(rows=("popularity", "random", "sasrec"), seeds=1)
    run_trials(tmp_path / "inline", todo, InlineExecutor)
    run_trials(tmp_path / "ray", todo, ray_executor)
    for trial in todo:
        one = find_result(tmp_path / "inline" / "results", trial.id)
        two = find_result(tmp_path / "ray" / "results", trial.id)
        assert one is not None
        assert two is not None
        assert one.evaluations == two.evaluations


@pytest.mark.parametrize(
    ("failures", "stage", "divisor", "expected"),
    [
        (["error"], "sft", 1, None),
        (["timeout"], "sft", 1, None),
        (["worker died"], "sft", 1, 1),
        (["worker died"] * 3, "sft", 1, None),
        (["out of memory"], "sft", 1, 2),
        (["out of memory"] * 9, "sft", 256, None),
        (["worker died", "out of memory"], "sft", 2, 4),
        (["out of memory"], "rank", 1, 1),
        (["out of memory"] * 2, "rank", 1, None),
    ],
)
def test_retry_policy(failures: list, stage: str, divisor: int, expected: int | None) -> None:
    attempts = [
        Attempt(failure=failure, message="", stage=stage, micro_batch_divisor=divisor)
        for failure in failures
    ]
    retry = decide_retry(attempts)
    assert (None if retry is None else retry.micro_batch_divisor) == expected


def test_stages_that_split_batches_are_listed() -> None:
    """A stage that reads the divisor, itself or in the training function that it passes the job."""
    kinds = set()
    for path in Path(stages.__path__[0]).glob("[a-z]*.py"):
        source = path.read_text()
        for name in re.findall(r"from (bench\.models\.seqrec\S*) import", source):
            source += Path(importlib.import_module(name).__file__ or "").read_text()
        if re.search(r"job\.(micro_batch_divisor|training)", source):
            kinds.add(path.stem)
    assert kinds == out_of_memory.SPLITTING


def test_a_plan_that_does_not_end_is_stopped(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MAX_PLAN_SECONDS", 0.2)
    endless = "def plan(self, data, model, seed):\n        while True: pass\n"
    path = tmp_path / "plugins" / "scripted.py"
    path.write_text(path.read_text().replace("def plan(self, data, model, seed):\n", endless))
    monkeypatch.delitem(sys.modules, "bench.methods.scripted", raising=False)
    (trial,) = plan_trials(commands, seeds=1)
    assert "longer than the limit of 0.2 s" in trial.problem


def test_a_changed_data_file_changes_all_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "own.toml").write_text(
        'title = "T"\ndescription = "D"\nlicense = "L"\ncitation = "C"\nreader = "recbole"\n'
        '[files]\ninteractions = { name = "own.inter" }\nitems = { name = "own.item" }\n'
        '[fields]\nuser = "u"\nitem = "i"\ntime = "t"\ntitle = "{x}"\n'
        "[split]\nhistory = 2\nmin_history = 1\n"
    )
    items = "\n".join(["i:token\tx:token_seq", *(f"{i}\tTitle {i}" for i in range(30))])
    lines = [f"{u}\t{(u + t) % 30}\t{100 * t + u}" for u in range(20) for t in range(8)]
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "own.item").write_text(items + "\n")
    (raw / "own.inter").write_text("\n".join(["u:token\ti:token\tt:float", *lines]) + "\n")
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    card = BoardCard(
        title="T",
        datasets=("own",),
        rows=(BoardRow(method="popularity"),),
        metrics=("HR@5",),
        seeds=1,
        budget="smoke",
    )

    def keys() -> list[str]:
        board = Board(name="t", card=card)
        ((_, trial),) = board_trials(board, ks=(1, 5), data_dir=raw)
        options = RunOptions(store=Store(tmp_path / "s"), results=tmp_path / "r", data_dir=raw)
        assert run([trial], options=options, executor=InlineExecutor).exit_code == 0
        result = find_result(tmp_path / "r", trial.id)
        assert result is not None
        return [stage.key for stage in result.stages]

    first = keys()
    assert keys() == first
    (raw / "own.inter").write_text((raw / "own.inter").read_text().replace("0\t3\t", "0\t4\t"))
    assert set(keys()).isdisjoint(first)


def test_provenance_names_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = worker.describe_processors(on_gpu=False)
    assert described["cpu"]
    assert described["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert "gpu" not in described
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.10  Tue Jan 1\n")
    monkeypatch.setattr(worker, "DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "NVIDIA H100")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    described = worker.describe_processors(on_gpu=True)
    assert (described["gpu"], described["cuda"]) == ("NVIDIA H100", "12.8")
    assert described["gpu_driver"] == "570.86.10"
    assert "cudnn" in described


def test_cpus_are_counted_where_processes_have_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_cpus() == os.cpu_count()
