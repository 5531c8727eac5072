"""Trackers: what they are told, and that they never hinder a run."""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from board_results import Line, make
from sasrec_result import ENTRY, TRIAL, result

from bench.errors import BenchError
from bench.results.schema import write_result
from bench.results.trackers import mlflow, tensorboard, wandb
from bench.results.trackers.entry import entry_of, valid_name, valid_names
from bench.results.trackers.hook import TRACKERS, Connections, parse_targets, tags_of
from bench.results.trackers.worker import in_words


def test_an_entry_has_all_that_trackers_show() -> None:
    assert ENTRY.settings == {
        "hidden": 32, "threads": "null", "betas": "[0.9, 0.99]", "seed": 1, "rows.train": 64,
        "rows.valid": "null",
    }  # fmt: skip
    assert ENTRY.metrics == {
        "NDCG@5": 0.5, "GU[a & b]@5": 0.125, "half/NDCG@5": 0.25,
        "cost/seconds_from_scratch": 6, "cost/seconds_own": 4, "cost/peak_memory_mib": 7,
    }  # fmt: skip
    assert ENTRY.tags == {
        "trial": TRIAL, "dataset": "synthetic", "method": "sasrec", "model": "none",
        "status": "ok", "budget": "nano", "board": "quick", "ran with numpy": "2.0",
    }  # fmt: skip


def test_a_curve_is_whole_and_a_second_stage_goes_on_where_the_first_ended() -> None:
    # Positions 0.5 and 1.5 are no steps, so the points are counted.
    points = [(1, 0.5), (2, 0.25), (3, 0.2), (4, 0.1)]
    assert ENTRY.curves == {"sasrec/loss_by_epoch": points}


def test_the_fingerprint_follows_result_and_tags() -> None:
    tags = {"budget": "nano", "board": "quick"}
    assert entry_of(result(), tags).fingerprint == ENTRY.fingerprint
    assert entry_of(result(loss=0.3), tags).fingerprint != ENTRY.fingerprint
    assert entry_of(result(), tags | {"budget": "paper"}).fingerprint != ENTRY.fingerprint


def test_a_failed_trial_is_told_with_its_reason() -> None:
    lost = result(status="failed", reason="CUDA out of memory", evaluations={}, cost=None)
    entry = entry_of(lost, {})
    assert (entry.ended_well, entry.tags["reason"]) == (False, "CUDA out of memory")
    assert entry.metrics == {}


def test_places_are_parsed_and_strangers_refused() -> None:
    (one, two) = parse_targets(["mlflow=http://h:1?a=b", "wandb", "wandb"], offline=True)
    assert (one.tracker, one.target, one.offline) == ("mlflow", "http://h:1?a=b", True)
    assert (two.tracker, two.target) == ("wandb", None)
    with pytest.raises(BenchError, match="no tracker named 'mlfow'") as error:
        parse_targets(["mlfow"])
    assert "mlflow" in error.value.hint
    with pytest.raises(BenchError, match="names no place"):
        parse_targets(["tensorboard="])


def test_tags_say_board_and_budget(tmp_path: Path) -> None:
    board, cells = make(tmp_path, [Line("Base")], seeds=1, budget="nano")
    assert tags_of([(board, cells)]) == {cells[0][1].id: {"board": "demo", "budget": "nano"}}


def test_forbidden_letters_are_spelled_anew() -> None:
    assert valid_name("GU[a & b]@5") == "GU_a___b_at_5"
    with pytest.raises(BenchError, match="differ only in letters"):
        valid_names(["GU[a&b]@5", "GU[a+b]@5"])


def test_no_password_is_ever_shown() -> None:
    said = in_words(ValueError(f"https://me:pass@word@host/x is away{'.' * 999}\nsecond line"))
    assert said.startswith("ValueError: https://***@host/x is away.")
    assert "second" not in said
    assert len(said) < 320


# --- the hook: whatever a tracker does, the run goes on -------------------------------------------


@contextmanager
def imitation(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a module called mlflow before the real one, for processes that start from here."""
    (folder / "mlflow.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    yield
    assert "mlflow" not in sys.modules  # nothing foreign is imported where the run is


@pytest.mark.parametrize(
    ("source", "limit", "said"),
    [
        ("raise ImportError('no such thing')", 60, "pip install 'llmrec-bench[mlflow]'"),
        ("import time; time.sleep(600)", 4, "No answer within 4 s."),
        ("import os; os._exit(3)", 60, "Its process ended without a word."),
        (
            "def get_tracking_uri(): raise ConnectionError('http://me:secret@h refused')",
            60,
            "ConnectionError: http://***@h refused",
        ),
    ],
    ids=["missing", "hanging", "dying", "refusing"],
)
def test_a_tracker_that_fails_costs_one_warning(
    source: str, limit: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    for seed in (0, 1):
        write_result(result(trial=f"synthetic/sasrec/0123456789ab/seed-{seed}"), results)
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    warnings: list[str] = []
    started = time.monotonic()
    with imitation(tmp_path, source, monkeypatch):
        places = parse_targets(["mlflow"])
        with Connections(
            places, results, {}, warn=warnings.append, time_limit=limit
        ) as connections:
            for seed in (0, 1):
                connections.tell(f"synthetic/sasrec/0123456789ab/seed-{seed}")
            assert time.monotonic() - started < 1  # telling waits for nobody
    (warning,) = warnings
    assert said in warning
    assert "bench export mlflow" in warning
    assert time.monotonic() - started < 30
    assert before == {path: path.read_bytes() for path in results.rglob("*.json")}


def test_a_run_that_breaks_waits_for_no_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    with (
        imitation(tmp_path, "import time; time.sleep(600)", monkeypatch),
        pytest.raises(KeyboardInterrupt),
        Connections(parse_targets(["mlflow"]), tmp_path, {}, time_limit=3) as connections,
    ):
        connections.tell(TRIAL)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 2


def test_without_trackers_nothing_starts(tmp_path: Path) -> None:
    with Connections([], tmp_path, {}) as connections:
        connections.tell("no/such/trial/seed-0")


def test_every_tracker_has_its_module_and_extra() -> None:
    folder = Path(__file__).parents[1]
    known = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for name, module in zip(TRACKERS, (mlflow, tensorboard, wandb), strict=True):
        assert module.__name__ == f"bench.results.trackers.{name}"
        assert any(module.LIBRARY in one for one in known["optional-dependencies"][name])
