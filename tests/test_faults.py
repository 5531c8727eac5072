"""Faults in what a run reads and writes: full and read-only disks, damage, edits, NaN, memory."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from test_runner import commands, plan_trials, refuse, run_trials  # noqa: F401

from bench.errors import BenchError
from bench.files import write_atomic
from bench.foreign_code import unchanged_process_state
from bench.hashing import checksum
from bench.plan import code_hash
from bench.plan.trials import Trial
from bench.results.load import load_results
from bench.results.outcomes import trial_outcome
from bench.results.schema import (
    Evaluation,
    find_result,
    read_result,
    table_path,
    write_result,
)
from bench.runner import out_of_memory
from bench.runner.executors import InlineExecutor
from bench.runner.loop import RunSummary
from bench.runner.resources import ResourceRequest
from bench.runner.store import ASIDE, BUILDING, META, Store
from bench.runner.worker import TaskResult, TaskSpec
from bench.stages import evaluate


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A method whose scorer the tests rewrite."""
    (tmp_path / "plugins").mkdir()
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "plugins"))
    path = tmp_path / "plugins" / "scripted.py"
    rewrite(path, "", "")
    yield path
    sys.modules.pop("bench.methods.scripted", None)


PLUGIN = '''
import numpy as np
from dataclasses import dataclass
from bench.api import Plan, rank


def fit(train, catalog):
    # A comment.
    return lambda histories: np.tile(np.arange(len(catalog), 0.0, -1), (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Method:
    """Ranks by position."""
    folder: str = ""
    def plan(self, data, model, seed):
        return Plan(ranking=rank(data.test, scorer="scripted:fit", train=data.train, settings={}))
'''


def rewrite(plugin: Path, old: str, new: str) -> None:
    """Edit the scorer, for a process that has not imported it yet."""
    assert old in PLUGIN
    plugin.write_text(PLUGIN.replace(old, new))
    sys.modules.pop("bench.methods.scripted", None)


def plan_one_trial(folder: Path) -> Trial:
    return plan_trials(folder, seeds=1)[0]


def stage_folder(folder: Path, trial: Trial, kind: str) -> Path:
    result = find_result(folder / "results", trial.id)
    assert result is not None
    (key,) = [stage.key for stage in result.stages if stage.kind == kind]
    return Store(folder / "store").folder(kind, key)


def values(folder: Path, todo: list[Trial]) -> list[Any]:
    results = [find_result(folder / "results", trial.id) for trial in todo]
    return [(result.status, result.evaluations) if result else None for result in results]


# --- foreign code ---------------------------------------------------------------------------------

RAISES = {
    "sys.exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit"),
    "a panic": ("raise type('PanicException', (BaseException,), {})('rust')", "PanicException"),
    "a surrogate": ("raise ValueError('a\\ud83dz')", "ValueError: a\\ud83dz"),
    "an escape": ("raise ValueError('\\x1b[31mred\\x1b]0;title\\x07')", "ValueError: red"),
    "no text": (
        "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "Mute: its text raises ZeroDivisionError",
    ),
    "a long text": ("raise ValueError('x' * 5_000_000)", "xxx …"),
    "a BenchError": ("raise bench.api.BenchError('\\ud83d' * 10**6)", "\\ud83d"),
}


@pytest.mark.parametrize("stage", ["fit", "plan"])
@pytest.mark.parametrize("error", RAISES)
def test_whatever_foreign_code_raises_costs_its_trial_only(
    tmp_path: Path, plugin: Path, error: str, stage: str
) -> None:
    line, message = RAISES[error]
    line = f"import bench.api; {line}"
    if stage == "fit":
        rewrite(plugin, "# A comment.", line)
    else:
        rewrite(plugin, "seed):\n", f"seed):\n        {line}\n")
    todo = [plan_one_trial(tmp_path), *plan_trials(rows=("random",), seeds=1)]
    summary = run_trials(tmp_path, todo, InlineExecutor)
    assert (summary.exit_code, summary.ok) == (1, (todo[1].id,))
    result = find_result(tmp_path / "results", todo[0].id)
    assert result is not None
    assert message in result.reason
    logs = [path.stat().st_size for path in (tmp_path / "results").rglob("*.json*")]
    assert max(logs) < 100_000


CHANGES = {
    "import torch; torch.set_default_dtype(torch.float64)": "dtype of torch is torch.float64",
    "import torch; torch.use_deterministic_algorithms(True)": "deterministic mode is 2",
    "import torch; torch.set_num_threads(7)": "number of threads is 7",
    "import torch; torch.set_grad_enabled(False)": "gradient mode is False",
    "import torch; torch.set_default_device('meta')": "default device of torch is meta",
    "import torch; torch.set_float32_matmul_precision('medium')": "float32 precision is medium",
    "np.seterr(all='raise')": "numpy's error state",
    "import os; os.chdir('/')": "the working folder",
    "import os; os.environ['OMP_NUM_THREADS'] = '3'": "environment variable OMP_NUM_THREADS",
    "import os; del os.environ['PATH']": "environment variable PATH",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_unit_that_changes_the_process_fails_and_changes_nothing(change: str) -> None:
    def state() -> list[Any]:
        modes = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
        more = torch.get_num_threads(), torch.is_grad_enabled(), torch.zeros(1).device.type
        return [*modes, *more, np.geterr(), os.getcwd(), dict(os.environ)]

    before = state()
    with (
        pytest.raises(BenchError, match="The stage rank changed the process") as caught,
        unchanged_process_state("The stage rank"),
    ):
        exec(change)
    assert CHANGES[change] in caught.value.message
    assert state() == before
    with pytest.raises(ZeroDivisionError), unchanged_process_state("The stage rank"):
        exec(change)
        1 / 0  # noqa: B018
    assert state() == before


def test_random_states_are_restored() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3), np.random.random(), random.random()
    torch.manual_seed(0)
    with unchanged_process_state("It"):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
    assert torch.equal(torch.rand(3), expected[0])


@pytest.mark.parametrize("place", ["scorer", "plan", "module"])
def test_a_plug_in_that_changes_torch_fails_and_other_trials_keep_their_numbers(
    tmp_path: Path, plugin: Path, place: str
) -> None:
    others = plan_trials(rows=("sasrec",), seeds=1)
    run_trials(tmp_path / "alone", others, InlineExecutor)
    change = "import torch; torch.set_default_dtype(torch.float64)"
    places = {
        "scorer": ("# A comment.", change),
        "plan": ("seed):\n", f"seed):\n        {change}\n"),
        "module": ("import numpy as np\n", f"import numpy as np\n{change}\n"),
    }
    rewrite(plugin, *places[place])
    if place == "module":
        for _ in range(2):
            with pytest.raises(BenchError, match="changed the process"):
                plan_one_trial(tmp_path)
        return
    todo = [plan_one_trial(tmp_path), *others]
    summary = run_trials(tmp_path / "together", todo, InlineExecutor)
    assert "default dtype of torch" in str([*summary.failed.values(), *summary.skipped.values()])
    assert values(tmp_path / "together", others) == values(tmp_path / "alone", others)


# --- the disk -----------------------------------------------------------------------------------


def full_disk(monkeypatch: pytest.MonkeyPatch, inside: str) -> Callable[[], None]:
    """Let the disk be full for all files below a folder of this name; returns what frees it."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if inside in Path(path).parts:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda: monkeypatch.setattr(os, "fsync", flush)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="without /proc nobody knows which file is flushed"
)


@needs_proc
def test_a_full_disk_under_the_store_fails_trials_and_leaves_no_partial_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = plan_trials(rows=("popularity",), seeds=1)
    free = full_disk(monkeypatch, BUILDING)
    summary = run_trials(tmp_path, todo, InlineExecutor)
    assert summary.exit_code == 1
    assert "No space left on device" in str([*summary.failed.values(), *summary.skipped.values()])
    assert not list((tmp_path / "store").glob(f"[a-z]*/*/{META}"))
    assert not list((tmp_path / "store" / BUILDING).iterdir())
    free()
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0


@needs_proc
def test_a_full_disk_under_the_results_loses_no_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = plan_trials(rows=("popularity", "random"), seeds=1)
    free = full_disk(monkeypatch, "results")
    with pytest.raises(OSError, match="No space left"):
        run_trials(tmp_path, todo, InlineExecutor)
    assert not list((tmp_path / "results").rglob("*seed-*.json"))
    assert not list((tmp_path / "results").rglob("*.parquet"))
    assert not list((tmp_path / "results").rglob(".*seed-*"))  # nor a part under another name
    made = {path: path.read_bytes() for path in (tmp_path / "store").glob(f"[a-z]*/*/{META}")}
    assert made
    free()
    again = run_trials(tmp_path, todo, InlineExecutor)
    assert (again.exit_code, len(again.ok)) == (0, 2)
    assert {path: path.read_bytes() for path in made} == made
    assert not (tmp_path / "store" / ASIDE).exists()


def test_a_store_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(BenchError, match="is not a folder"):
        run_trials(tmp_path, plan_trials(rows=("popularity",), seeds=1), InlineExecutor)


# --- damage -------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_damaged_weights_are_computed_again(
    tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    todo = plan_trials(rows=("sasrec",), seeds=1)
    run_trials(tmp_path, todo, InlineExecutor)
    before = values(tmp_path, todo)
    (weights,) = stage_folder(tmp_path, todo[0], "sasrec").glob("*.safetensors")
    sound = weights.read_bytes()
    damage(weights)
    for kind in ("rank", "evaluate"):  # what was made of them is gone, so that they are needed
        key = stage_folder(tmp_path, todo[0], kind).name
        Store(tmp_path / "store").remove(kind, key)
    summary = run_trials(tmp_path, todo, InlineExecutor)
    assert (summary.exit_code, values(tmp_path, todo)) == (0, before)
    assert weights.read_bytes() == sound
    assert "moved to" in capsys.readouterr().err
    assert len(list((tmp_path / "store" / ASIDE).iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 500, b"null", b'{"trial": 3}'])
def test_a_damaged_result_is_moved_aside_and_written_again(tmp_path: Path, content: bytes) -> None:
    todo = plan_trials(rows=("popularity",), seeds=1)
    run_trials(tmp_path, todo, InlineExecutor)
    path = tmp_path / "results" / f"{todo[0].id}.json"
    sound = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(BenchError, match="is not a result of schema version"):
        read_result(path)
    again = run_trials(tmp_path, todo, refuse)
    assert (again.stages_run, again.exit_code) == (0, 0)
    assert path.read_bytes() == sound
    (aside,) = (tmp_path / "results" / ".aside").iterdir()
    assert aside.read_bytes() == content


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_one_command_repairs_all_damage(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Every file of every artifact of two trials; then what is needed of them."""
    todo = plan_trials(rows=("popularity", "sasrec"), seeds=1)
    run_trials(tmp_path, todo, InlineExecutor)
    before = values(tmp_path, todo)
    store = Store(tmp_path / "store")
    payloads = [path for path in store.root.glob("[a-z]*/*/*") if path.name != META]
    for path in payloads:
        damage(path)
    for path in (tmp_path / "results").rglob("seed-*.json"):
        path.unlink()
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0
    assert values(tmp_path, todo) == before
    for entry in store.entries():
        store.open(entry["kind"], entry["key"])


def edit_digit(folder: Path, trial: str) -> None:
    path = folder / f"{trial}.json"
    text = path.read_text()
    value = re.search(r'"NDCG@5": 0\.(\d)', text)
    assert value
    edited = text[: value.start(1)] + str((int(value[1]) + 1) % 10) + text[value.end(1) :]
    path.write_text(edited)


def edit_cases(folder: Path, trial: str) -> None:
    path = table_path(folder, trial, "cases")
    table = pq.read_table(path)
    index = table.column_names.index("NDCG@5")
    pq.write_table(table.set_column(index, "NDCG@5", pa.array(np.ones(len(table)))), path)


def forge(folder: Path, trial: str) -> None:
    """Change a metric and give the result a checksum that fits."""
    result = find_result(folder, trial)
    assert result is not None
    final = result.evaluations["final"]
    final = final.model_copy(update={"metrics": final.metrics | {"NDCG@5": 0.99}})
    write_result(result.model_copy(update={"evaluations": {"final": final}}), folder)


def put_text_into_cases(folder: Path, trial: str) -> None:
    path = table_path(folder, trial, "cases")
    table = pq.read_table(path)
    index = table.column_names.index("NDCG@5")
    pq.write_table(table.set_column(index, "NDCG@5", pa.array(["x"] * len(table))), path)
    result = find_result(folder, trial)
    assert result is not None
    files = result.files | {"cases": checksum(path)}
    write_result(result.model_copy(update={"files": files}), folder)


def cut_tables(folder: Path, trial: str) -> None:
    truncate(table_path(folder, trial, "ranking"))


@pytest.mark.parametrize("damage", [edit_digit, edit_cases, forge, put_text_into_cases, cut_tables])
def test_what_does_not_fit_is_named_and_left_out(
    tmp_path: Path, damage: Callable[[Path, str], None]
) -> None:
    todo = plan_trials(rows=("popularity", "random"), seeds=1)
    run_trials(tmp_path, todo, InlineExecutor)
    folder, before = tmp_path / "results", values(tmp_path, todo)
    assert len(load_results(folder)) == 2
    damage(folder, todo[0].id)
    results = load_results(folder)
    assert [result.trial for result in results] == [todo[1].id]
    assert results.unreadable.keys() == {todo[0].id}
    assert todo[0].id in str(results.unreadable[todo[0].id])
    outcome = trial_outcome(todo[0], results, "")
    assert (outcome.status, outcome.metrics) == ("failed", ())
    again = run_trials(tmp_path, todo, refuse)
    assert (again.stages_run, again.exit_code) == (0, 0)
    assert values(tmp_path, todo) == before
    assert len(load_results(folder)) == 2


def test_numbers_of_edited_plug_ins_are_stale(tmp_path: Path, plugin: Path) -> None:
    run_trials(tmp_path, [plan_one_trial(tmp_path)], InlineExecutor)
    results = load_results(tmp_path / "results")
    (result,) = results
    assert result.data is not None

    def staleness() -> str:
        return trial_outcome(
            plan_one_trial(tmp_path), results, result.data.fingerprint  # type: ignore[union-attr]
        ).stale  # fmt: skip

    assert staleness() == ""
    rewrite(plugin, "# A comment.", "# Another.")
    assert staleness() == ""
    for old, new in (("0.0, -1", "1.0, -1"), ("settings={}", "settings={'x': 1}")):
        rewrite(plugin, old, new)
        assert "other code of scripted" in staleness()


def test_a_foreign_folder_under_a_key_is_moved_aside(tmp_path: Path) -> None:
    """A record of another key, e.g. copied by hand, is not believed."""
    todo = plan_trials(rows=("popularity", "random"), seeds=1)
    run_trials(tmp_path, todo, InlineExecutor)
    before = values(tmp_path, todo)
    places = [stage_folder(tmp_path, trial, "evaluate") for trial in todo]
    places[0].rename(tmp_path / "first")
    places[1].rename(places[0])
    (tmp_path / "first").rename(places[1])
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0
    assert values(tmp_path, todo) == before
    assert len(list((tmp_path / "store" / ASIDE).iterdir())) == 2


# --- edits between runs --------------------------------------------------------------------------


def test_edited_code_runs_again_and_edited_comments_do_not(tmp_path: Path, plugin: Path) -> None:
    first = run_trials(tmp_path, [plan_one_trial(tmp_path)], InlineExecutor)
    old = values(tmp_path, [plan_one_trial(tmp_path)])
    rewrite(plugin, "# A comment.", "# Another, and longer.")
    assert run_trials(tmp_path, [plan_one_trial(tmp_path)], refuse).stages_run == 0
    rewrite(plugin, "len(catalog), 0.0, -1", "0.0, len(catalog)")
    edited = run_trials(tmp_path, [plan_one_trial(tmp_path)], InlineExecutor)
    assert edited.stages_run == 2  # the ranking and its evaluation, not the data
    assert first.stages_run > 2
    assert values(tmp_path, [plan_one_trial(tmp_path)]) != old
    rewrite(plugin, "", "")
    assert (
        run_trials(tmp_path, [plan_one_trial(tmp_path)], refuse).stages_run == 0
    )  # both are in the store
    assert values(tmp_path, [plan_one_trial(tmp_path)]) == old


# --- numbers and memory --------------------------------------------------------------------------


def test_a_nan_metric_fails_its_trial_and_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = plan_trials(rows=("popularity",), seeds=1)
    original = evaluate.evaluate

    def corrupted(*args: Any, **kwargs: Any) -> Any:
        scores = original(*args, **kwargs)
        scores.metrics["HR@5"] = float("nan")
        return scores

    monkeypatch.setattr(evaluate, "evaluate", corrupted)
    summary = run_trials(tmp_path, todo, InlineExecutor)
    assert (summary.exit_code, list(summary.failed)) == (1, [todo[0].id])
    assert "nan" in summary.failed[todo[0].id]
    monkeypatch.undo()
    assert run_trials(tmp_path, todo, InlineExecutor).exit_code == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_result_with_non_finite_metrics_cannot_be_created(value: float) -> None:
    rest: dict[str, Any] = {
        "ks": [1], "num_cases": 1, "num_known": 1, "num_items": 1, "tracked": [],
    }  # fmt: skip
    assert Evaluation(metrics={"HR@1": 0.5}, **rest)
    with pytest.raises(ValidationError, match="finite number"):
        Evaluation(metrics={"HR@1": value}, **rest)


@pytest.mark.parametrize(
    ("splitting", "divisors"), [({"rank"}, [2**power for power in range(9)]), (set(), [1, 1])]
)
def test_a_gpu_out_of_memory_halves_the_micro_batch(
    tmp_path: Path,
    plugin: Path,
    monkeypatch: pytest.MonkeyPatch,
    splitting: set[str],
    divisors: list[int],
) -> None:
    """The exception is torch's own, as the allocator raises it."""
    monkeypatch.setattr(out_of_memory, "SPLITTING", splitting)
    raising = "import torch\n    raise torch.OutOfMemoryError('CUDA out of memory')"
    rewrite(plugin, "# A comment.", raising)
    trial = plan_one_trial(tmp_path)
    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    assert not run_trials(tmp_path, [trial], InlineExecutor).ok
    result = find_result(tmp_path / "results", trial.id)
    assert result is not None
    assert {attempt.failure for attempt in result.attempts} == {"out of memory"}
    assert [attempt.micro_batch_divisor for attempt in result.attempts] == divisors


# --- bookkeeping ---------------------------------------------------------------------------------


@dataclass
class IdleExecutor:
    """An executor that runs nothing, and commits empty prepared data."""

    waiting: list[TaskSpec] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    num_asked: int = 0

    def has_capacity(self, request: ResourceRequest) -> bool:
        self.num_asked += 1
        return len(self.waiting) < 16

    def submit(self, task: TaskSpec) -> None:
        self.waiting.append(task)

    def wait(self) -> list[TaskResult]:
        task = self.waiting.pop(0)
        kinds = [stage.kind for stage in task.stages]
        self.seen.update(kinds)
        if "prepare" in kinds:
            store = Store(task.store)
            for stage in task.stages:
                with store.building(stage.kind, stage.key) as built:
                    store.commit(stage.kind, stage.key, built, {"seconds": 0.0})
            return [TaskResult(unit=task.unit, computed=tuple(stage.key for stage in task.stages))]
        return [TaskResult(unit=task.unit, failure="error", stage=kinds[0], message="Not done.")]

    def cancel(self, unit: str) -> None: ...

    def close(self) -> list[TaskResult]:
        return []


@pytest.mark.slow
def test_bookkeeping_of_a_thousand_trials_is_linear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan, graph, submission, failures and 1,000 records; no stage does any work."""
    executor, hashed, read_scope = IdleExecutor(), Counter[str](), code_hash._scope

    def counted(module: str) -> Any:
        hashed[module] += 1
        return read_scope(module)

    monkeypatch.setattr(code_hash, "_scope", counted)
    todo = plan_trials(rows=("random",), seeds=1000)
    summary: RunSummary = run_trials(tmp_path, todo, lambda: executor)
    assert len(summary.failed) == executor.seen["evaluate"] == 1000
    assert len(list((tmp_path / "results").rglob("seed-*.json"))) == 1000
    # What would grow with the square is counted, as clocks differ; benchmarks/grid.py times it.
    assert executor.num_asked < 10 * 1000  # not all that waits, for each that ends
    assert max(hashed.values()) < 1000  # not for each cell


def test_readers_never_see_a_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader sees the old file or the new file, never a part of one."""
    path = tmp_path / "x.json"
    write_atomic(path, json.dumps(["old"]).encode())
    seen = []
    flush = os.fsync

    def look(descriptor: int) -> None:
        flush(descriptor)
        seen.append(json.loads(path.read_bytes()))

    monkeypatch.setattr(os, "fsync", look)
    write_atomic(path, json.dumps(["new"] * 10_000).encode())
    assert seen == [["old"]]
    assert len(json.loads(path.read_bytes())) == 10_000
