"""Commands accept names without hashes, ask before they delete, and say when there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_explain import call
from typer.testing import CliRunner

from bench.cli.app import app

RUN = ("--board", "smoke", "--method", "popularity", "--seeds", "1")


def test_a_trial_is_named_by_its_method_and_what_is_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "run", *RUN, "--executor", "inline") == 0
    capsys.readouterr()
    assert call(monkeypatch, "explain", "popularity", *RUN) == 0
    assert "synthetic/popularity/" in capsys.readouterr().out
    assert call(monkeypatch, "retry", "--failed") == 0
    assert "Nothing to retry" in capsys.readouterr().out
    key = next((tmp_path / ".bench" / "store" / "rank").iterdir())
    result = CliRunner().invoke(app, ["cache", "rm", key.name[:8]], input="n\n")
    assert "Delete rank/" in result.output
    assert key.exists()


def test_the_version_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("llmrec-bench ")
