"""Trackers: what they receive, and that they never affect a run."""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from board_results import Line, make
from sasrec_result import ENTRY, TRIAL, result
from transformers import Trainer, TrainingArguments
from transformers.integrations import integration_utils

from bench.config.request import TRACKERS
from bench.errors import BenchError
from bench.models.lm.train.trainer_setup import training_arguments
from bench.plan.language_stages import TrainingConfig
from bench.results.schema import write_result
from bench.results.trackers import live_curves, mlflow, tensorboard, wandb
from bench.results.trackers.entry import make_entry, spell_names
from bench.results.trackers.hook import (
    Trackers,
    collect_tags,
    parse_targets,
)
from bench.results.trackers.live_curves import report_live_curves
from bench.results.trackers.worker import describe_error


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
    assert make_entry(result(), tags).fingerprint == ENTRY.fingerprint
    assert make_entry(result(loss=0.3), tags).fingerprint != ENTRY.fingerprint
    assert make_entry(result(), tags | {"budget": "paper"}).fingerprint != ENTRY.fingerprint


def test_a_failed_trial_has_its_reason() -> None:
    lost = result(status="failed", reason="CUDA out of memory", evaluations={}, cost=None)
    entry = make_entry(lost, {})
    assert (entry.succeeded, entry.tags["reason"]) == (False, "CUDA out of memory")
    assert entry.metrics == {}


def test_targets_become_environments_and_unknown_trackers_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    environments = parse_targets(["mlflow=http://h:1?a=b", "wandb"])
    assert environments["mlflow"]["MLFLOW_TRACKING_URI"] == "http://h:1?a=b"
    assert environments["wandb"]["WANDB_PROJECT"] == "llmrec-bench"
    assert "WANDB_MODE" not in environments["wandb"]
    environments = parse_targets(["mlflow", "wandb=mine"], offline=True)
    assert environments["mlflow"]["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    assert environments["wandb"]["WANDB_MODE"] == "offline"
    with pytest.raises(BenchError, match="no tracker named 'mlfow'") as error:
        parse_targets(["mlfow"])
    assert "mlflow" in error.value.hint
    with pytest.raises(BenchError, match="has no target"):
        parse_targets(["tensorboard="])
    with pytest.raises(BenchError, match="named twice"):
        parse_targets(["wandb", "wandb=mine"])
    with pytest.raises(BenchError, match="--offline forbids it"):
        parse_targets(["mlflow=http://127.0.0.1:1"], offline=True)


def test_tags_say_board_and_budget(tmp_path: Path) -> None:
    board, cells = make(tmp_path, [Line("Base")], seeds=1, budget="nano")
    assert collect_tags([(board, cells)]) == {cells[0][1].id: {"board": "demo", "budget": "nano"}}


def test_forbidden_characters_are_replaced() -> None:
    assert spell_names(["GU[a & b]@5"]) == {"GU[a & b]@5": "GU_a___b_at_5"}
    with pytest.raises(BenchError, match="differ only in characters"):
        spell_names(["GU[a&b]@5", "GU[a+b]@5"])


def test_no_password_is_ever_shown() -> None:
    message = describe_error(
        ValueError(f"https://me:pass@word@host/x is away{'.' * 999}\nsecond line")
    )
    assert message.startswith("ValueError: https://***@host/x is away.")
    assert "second" not in message
    assert len(message) < 320


# --- whatever a tracker does, the run continues -------------------------------------------------


@contextmanager
def imitation(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a module called mlflow before the real one, for processes that start from here."""
    (folder / "mlflow.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    yield
    assert "mlflow" not in sys.modules  # no tracker library is imported in the process of the run


@pytest.mark.parametrize(
    ("source", "limit", "message"),
    [
        ("raise ImportError('no such thing')", 60, "pip install 'llmrec-bench[mlflow]'"),
        ("import time; time.sleep(600)", 2, "No answer within 2 s."),
        ("import os; os._exit(3)", 60, "Its process ended without an answer."),
        (
            "def MlflowClient(): raise ConnectionError('http://me:secret@h refused')",
            60,
            "ConnectionError: http://***@h refused",
        ),
    ],
    ids=["missing", "hanging", "dying", "refusing"],
)
def test_a_tracker_that_fails_costs_one_warning(
    source: str, limit: float, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    for seed in (0, 1):
        write_result(result(trial=f"synthetic/sasrec/0123456789ab/seed-{seed}"), results)
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    warnings: list[str] = []
    started = time.monotonic()
    with imitation(tmp_path, source, monkeypatch):
        targets = parse_targets(["mlflow"])
        with Trackers(targets, results, {}, warn=warnings.append, time_limit=limit) as trackers:
            for seed in (0, 1):
                trackers.report(f"synthetic/sasrec/0123456789ab/seed-{seed}")
            assert time.monotonic() - started < 1  # nobody waits for the process
    (warning,) = warnings
    assert message in warning
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
        Trackers(parse_targets(["mlflow"]), tmp_path, {}, time_limit=3) as trackers,
    ):
        trackers.report(TRIAL)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 2


def test_without_trackers_nothing_starts(tmp_path: Path) -> None:
    with Trackers({}, tmp_path, {}) as trackers:
        trackers.report("no/such/trial/seed-0")


def test_every_tracker_has_its_module_and_extra() -> None:
    folder = Path(__file__).parents[1]
    known = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for name, module in zip(TRACKERS, (mlflow, tensorboard, wandb), strict=True):
        assert module.__name__ == f"bench.results.trackers.{name}"
        assert any(module.LIBRARY in one for one in known["optional-dependencies"][name])


# --- live training curves ------------------------------------------------------------------------


class Squares(torch.nn.Module):
    """The smallest model that a Trainer can train."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight * x).square().mean()}


def train_one_step(folder: Path) -> None:
    """Train with the arguments of this project's trainers."""
    config = TrainingConfig(num_train_epochs=1, learning_rate=0.1, batch_size=1, warmup_steps=0)
    settings = training_arguments(config, num_samples=1, divisor=1, folder=str(folder))
    rows: list[dict[str, float]] = [{"x": 1.0}]
    Trainer(Squares(), TrainingArguments(**settings), train_dataset=rows).train()


def test_live_curves_are_written_and_the_environment_is_restored(tmp_path: Path) -> None:
    environments = parse_targets([f"tensorboard={tmp_path / 'events'}"])
    with report_live_curves(environments, "sft-0123"):
        train_one_step(tmp_path)
    train_one_step(tmp_path)  # outside of the block nothing is reported
    assert "BENCH_REPORT_TO" not in os.environ
    (path,) = (tmp_path / "events" / "live" / "sft-0123").glob("events.out.tfevents.*")
    assert b"train/loss" in path.read_bytes()


def test_a_tracker_that_fails_does_not_stop_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ConnectionError("refused")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", fail)
    monkeypatch.setattr(live_curves, "_failed", set())
    environments = parse_targets([f"tensorboard={tmp_path / 'events'}"])
    for _ in range(2):
        with report_live_curves(environments, "sft-0123"):
            train_one_step(tmp_path)
    assert capsys.readouterr().err.count("refused") == 1
