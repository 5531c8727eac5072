"""`bench plan`: what it says about time, and how it says why something cannot run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_explain import call

from bench.config.scoped_cache import once, one_state
from bench.runner.cost_model import Throughput, write_throughput

SMOKE = ("--suite", "smoke")


@pytest.fixture
def out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> object:
    monkeypatch.chdir(tmp_path)

    def run_command(*words: str) -> str:
        assert call(monkeypatch, *words) == 0
        return capsys.readouterr().out

    return run_command


def test_nothing_timed_is_said_in_a_sentence(out) -> None:
    said = out("plan", *SMOKE)
    assert "Estimate: none" in said
    assert "0 s" not in said


def test_paper_tables_read_like_weeks_on_a_cpu_or_like_nothing(out, tmp_path: Path) -> None:
    said = out("plan", "--suite", "paper-tables")
    assert "Estimate: none" in said
    slow = Throughput(device="cpu", name="2 threads", flops=1e11, bytes_per_second=1e10)
    write_throughput(slow, tmp_path / ".bench" / "store")
    seconds = json.loads(out("plan", "--board", "sprec-table2", "--json"))["forecast"]["seconds"]
    assert seconds[0] > 7 * 24 * 3600


def test_timings_of_another_store_predict_a_fresh_run(out, tmp_path: Path) -> None:
    out("run", *SMOKE, "--executor", "inline")
    assert "0 must run" in out("plan", *SMOKE)
    assert "Estimate" not in out("plan", *SMOKE)
    here = json.loads(out("plan", *SMOKE, "--json"))["forecast"]
    assert (here["seconds"], here["work_seconds"]) == ([0, 0], 0)
    moved = tmp_path / "earlier"
    os.rename(tmp_path / ".bench" / "store", moved)
    for words in (("--timings", "earlier"), ("--store", "earlier", "--fresh")):
        forecast = json.loads(out("plan", *SMOKE, *words, "--json"))["forecast"]
        timed = [json.loads(path.read_bytes())["seconds"] for path in moved.glob("*/*/meta.json")]
        assert forecast["work_seconds"] > 0.999 * sum(timed) > 0
        assert set(forecast["seconds_by_basis"]) == {"same stage"}
        assert forecast["stages_by_basis"] == {"same stage": len(timed)}
        assert forecast["never_timed"] == {}
    # Models would compute on the GPUs, which nothing was timed on; popularity does not.
    elsewhere = (*SMOKE, "--method", "popularity", "--timings", "earlier")
    said = out("plan", *elsewhere, "--gpus", "2", "--cpus", "3")
    assert "on 3 CPUs and 2 GPUs" in said
    assert "All timings are from CPUs" in said
    table = json.loads(out("plan", *elsewhere, "--gpus", "2", "--cpus", "3", "--json"))
    table = table["forecast"]["scaling"]
    assert [(line["gpus"], line["cpus"]) for line in table[:2]] == [(1, 2), (2, 3)]


def test_timings_must_be_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "plan", *SMOKE, "--timings", "nowhere") == 2
    assert "There is no store nowhere" in capsys.readouterr().err


def test_equal_reasons_are_one_line(out, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_ENDPOINT", "BENCH_RESPONSES"):
        monkeypatch.delenv(name, raising=False)
    words = ("plan", "--method", "kar", "--dataset", "ml-1m", "--seeds", "3",
             "--set", "writer=chatgpt-4o-latest", "--model", "tiny")  # fmt: skip
    lines = [line for line in out(*words).splitlines() if line.startswith("Cannot run")]
    problems = [
        trial["problem"]
        for trial in json.loads(out(*words, "--json"))["trials"]
        if "problem" in trial
    ]
    assert len(problems) == 3
    assert len(lines) == len(set(problems)) == 1
    assert "and 2 more: " in lines[0]


def test_a_data_set_has_one_note_on_its_files(out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", "empty")
    words = ("plan", "--method", "popularity", "--dataset", "goodreads-sprec", "--seeds", "1")
    notes = [line for line in out(*words).splitlines() if line.startswith("Note: goodreads-sprec")]
    assert len(notes) == 1
    assert all(name in notes[0] for name in ("train.json", "id2name.json"))
    (trial,) = json.loads(out(*words, "--json"))["trials"]
    assert f"Note: {trial['notes'][0]}" == notes[0]


def test_a_plan_looks_once() -> None:
    looks = []

    @once
    def look(name: str) -> int:
        looks.append(name)
        return len(looks)

    assert [look("a"), look("a")] == [1, 2]
    with one_state():
        with one_state():
            assert [look("a"), look("a"), look("b")] == [3, 3, 4]
        assert look("a") == 3
    assert look("a") == 5
