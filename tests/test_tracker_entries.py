"""What each tracker contains afterwards; trackers that are not installed are skipped."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

import pytest
from sasrec_result import ENTRY, TRIAL, result
from test_trackers import imitation

from bench.results.schema import Attempt, find_result, read_result, write_result
from bench.results.trackers import mlflow, tensorboard
from bench.results.trackers.entry import make_entry
from bench.results.trackers.hook import Trackers, parse_targets


@pytest.mark.slow
def test_a_run_with_a_broken_tracker_and_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from bench.cli.app import app

    command = ["run", "--method", "popularity", "--dataset", "synthetic", "--executor", "inline"]
    command += ["--seeds", "1", "--rows", "test=8"]
    plain = CliRunner().invoke(app, [*command, *places(tmp_path / "plain")])
    logging = [f"--log-to=tensorboard={tmp_path}/events", "--log-to=mlflow"]
    with imitation(tmp_path, "raise ImportError", monkeypatch):
        logged = CliRunner().invoke(app, [*command, *places(tmp_path / "logged"), *logging])
    assert (plain.exit_code, logged.exit_code) == (0, 0)
    assert logged.stderr.count("Warning: mlflow:") == 1
    (one, other) = (
        read_result(next((tmp_path / name / "results").rglob("seed-0.json")))
        for name in ("plain", "logged")
    )
    assert one.evaluations == other.evaluations
    assert [stage.key for stage in one.stages] == [stage.key for stage in other.stages]
    points = {name: value for name, _, value in scalars(tmp_path / "events" / other.trial)}
    final = other.evaluations["final"].metrics
    assert points["NDCG_at_5"] == pytest.approx(final["NDCG@5"], rel=1e-6)


def places(folder: Path) -> list[str]:
    return [f"--{name}={folder / name}" for name in ("store", "results", "out")]


# --- TensorBoard ---------------------------------------------------------------------------------


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Read event files without TensorBoard: length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    points = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    points.append((value.tag, event.step, value.simple_value))
    return sorted(points)


@pytest.mark.slow
def test_tensorboard_through_the_hook_and_again(tmp_path: Path) -> None:
    results, events = tmp_path / "results", tmp_path / "events"
    write_result(result(), results)
    with Trackers(parse_targets([f"tensorboard={events}"]), results, {}) as trackers:
        trackers.report(TRIAL)
        trackers.report(TRIAL)
    points = scalars(events / TRIAL)
    assert [(step, value) for tag, step, value in points if tag == "sasrec/loss_by_epoch"] == [
        (1, 0.5), (2, 0.25), (3, pytest.approx(0.2)), (4, pytest.approx(0.1)),
    ]  # fmt: skip
    assert ("NDCG_at_5", 0, 0.5) in points
    assert len(points) == 4 + len(ENTRY.metrics)  # each once
    stored = find_result(results, TRIAL)
    assert stored is not None
    assert stored.model_copy(update={"checksum": ""}) == result()


def test_a_changed_result_replaces_the_old_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorboardX

    monkeypatch.setenv(tensorboard.FOLDER, str(tmp_path))
    tracker = tensorboard.Tracker(tensorboardX)
    tracker.log(ENTRY)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / TRIAL).iterdir()}
    tracker.log(ENTRY)
    assert first == {path: path.stat().st_mtime_ns for path in (tmp_path / TRIAL).iterdir()}
    tracker.log(make_entry(result(loss=0.75), {}))
    losses = [value for tag, _, value in scalars(tmp_path / TRIAL) if tag.startswith("sasrec/")]
    assert losses[:2] == [0.5, 0.75]
    assert len(losses) == 4


def test_tensorboard_itself_reads_settings_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    import tensorboardX

    monkeypatch.setenv(tensorboard.FOLDER, str(tmp_path))
    tensorboard.Tracker(tensorboardX).log(ENTRY)
    read = accumulator.EventAccumulator(str(tmp_path / TRIAL)).Reload()
    assert [one.value for one in read.Scalars("NDCG_at_5")] == [0.5]
    assert "_hparams_/session_start_info" in read.summary_metadata


# --- MLflow --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mlflow_in_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/m.db"
    for name, value in mlflow.make_environment(uri, offline=True).items():
        monkeypatch.setenv(name, value)
    tracker = mlflow.Tracker(library)
    tracker.log(ENTRY)
    tracker.log(ENTRY)
    client = library.MlflowClient(tracking_uri=uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == mlflow.EXPERIMENT]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (TRIAL, "FINISHED")
    assert run.data.params["betas"] == "[0.9, 0.99]"
    assert run.data.metrics["NDCG_at_5"] == 0.5
    assert run.data.tags["budget"] == "nano"
    curve = client.get_metric_history(run.info.run_id, "sasrec/loss_by_epoch")
    assert [(one.step, one.value) for one in curve] == ENTRY.curves["sasrec/loss_by_epoch"]
    failed = make_entry(result(status="failed", reason="why"), {})
    tracker.log(failed)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "why")


@pytest.mark.slow
@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "hangs"])
def test_a_real_server_that_does_not_answer(listens: bool, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    write_result(result(), tmp_path)
    warnings: list[str] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        place = f"mlflow=http://127.0.0.1:{server.getsockname()[1]}"
        limit = 15.0 if listens else 60.0
        with Trackers(
            parse_targets([place]), tmp_path, {}, warn=warnings.append, time_limit=limit
        ) as trackers:
            trackers.report(TRIAL)
    (warning,) = warnings
    assert ("No answer within 15 s" if listens else "MlflowException") in warning


# --- Weights & Biases ----------------------------------------------------------------------------


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    results = tmp_path / "results"
    write_result(result(attempts=[Attempt(failure="timeout", message="late")]), results)
    for _ in range(2):
        warnings: list[str] = []
        with Trackers(
            parse_targets(["wandb=mine"], offline=True), results, {}, warn=warnings.append
        ) as trackers:
            trackers.report(TRIAL)
        assert not warnings
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    content = next(folder.glob("*.wandb")).read_bytes()
    for text in (TRIAL, "mine", "NDCG@5", "sasrec/loss_by_epoch", "betas"):
        assert text.encode() in content
    for private in (sys.executable, str(Path(__file__).parent)):
        assert private.encode() not in content
