"""A run from a shell: closed and full streams, a plug-in that changes the working directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scripted_runs import SCRIPTED

import bench

RUN = (
    f"{sys.executable} -m bench.cli run --method popularity --dataset synthetic --budget smoke "
    "--seeds 1 --executor inline --json"
)


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
def test_a_run_survives_its_standard_error(tmp_path: Path, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{RUN} {redirection}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    assert '"ok": 1' in done.stdout


def test_relative_folders_survive_a_plugin_that_changes_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere, plugins = (tmp_path / name for name in ("home", "elsewhere", "plugins"))
    for folder in (home, elsewhere, plugins):
        folder.mkdir()
    wandering = f"def plan(self, data, model, seed):\n        os.chdir({str(elsewhere)!r})\n"
    source = SCRIPTED.replace("def plan(self, data, model, seed):\n", wandering)
    (plugins / "scripted.py").write_text(source)
    monkeypatch.setenv("BENCH_PATH", str(plugins))
    monkeypatch.delitem(sys.modules, "bench.methods.scripted", raising=False)
    monkeypatch.chdir(home)
    request = bench.RunRequest(
        methods=("scripted", "popularity"), datasets=("synthetic",), budget="smoke", seeds=1
    )
    options = bench.ExecutionOptions(executor="inline", keep_going=True)
    finished = bench.run(request, options, quiet=True)
    assert len(finished.summary.ok) == 1
    assert "the working folder is another" in " ".join(finished.summary.skipped.values())
    assert not list(elsewhere.iterdir())
    assert {path.name for path in home.iterdir()} == {".bench", "results"}
    assert all((home / path).is_file() and not path.is_absolute() for path in finished.pages)
