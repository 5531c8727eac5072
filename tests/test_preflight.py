"""A run that lacks something says so in ten lines, writes nothing; a rehearsal needs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_explain import call

from bench.config.request import RunRequest
from bench.errors import BenchError
from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
from bench.plan.graph import build_graph
from bench.runner import preflight
from bench.runner.offline.needs import list_assets


def plan(**request: object):
    return plan_boards(select_boards(RunRequest(**request)))  # type: ignore[arg-type]


def test_a_gated_backbone_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "find_local_files", lambda asset, data_dir: {})
    assert call(monkeypatch, "run", "--board", "dpo4rec-table1") == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) <= 10
    for words in ("llama-3.1-8b-instruct", "accept its license", "endpoint", "--keep-going"):
        assert words in message
    assert not list(tmp_path.iterdir())


def test_only_what_cannot_be_fetched_refuses_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "find_local_files", lambda asset, data_dir: {})
    trials = distinct_trials(plan(methods=("popularity",), datasets=("ml-100k",)))
    preflight.check_available(trials, tmp_path, data_dir=None, offline=False)
    with pytest.raises(BenchError, match="ml-100k"):
        preflight.check_available(trials, tmp_path, data_dir=None, offline=True)


def test_a_rehearsal_covers_every_row_and_needs_no_download() -> None:
    full, small = (plan(suite="paper-tables", rehearse=rehearse) for rehearse in (False, True))
    rows = [{row.name for row, _ in trials} for _, trials in full]
    assert [{row.name for row, _ in trials} for _, trials in small] == rows
    assert all(board.page == f"{board.name}-rehearsal" for board, _ in small)
    trials = [trial for trial in distinct_trials(small) if not trial.problem]
    assert {trial.dataset for trial in trials} == {"synthetic-rated"}
    assert {asset.kind for asset in list_assets(build_graph(trials).stages.values())} <= {"encoder"}
    with pytest.raises(BenchError, match="--rehearse"):
        plan(suite="smoke", rehearse=True, budget="nano")
