"""Checks of a machine and a folder."""

from __future__ import annotations

import errno
import json
import shutil
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench import cli
from bench.cli import doctor_checks as checks
from bench.config.plugins import encoder_card
from bench.data.assets import cached_path
from bench.errors import BenchError
from bench.runner import run_directory

Usage = namedtuple("Usage", "total used free")


def test_this_machine_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["bench", "doctor", "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    findings = json.loads(capsys.readouterr().out)
    assert left.value.code == any(finding["state"] == "fail" for finding in findings)
    names = [finding["name"] for finding in findings]
    assert names[:3] == ["Python", "libraries", "tested versions"]
    assert {"CPUs", "GPUs", "disk, cache", "store", "data sets", "cached files"} <= set(names)
    assert "network" not in names
    assert all(finding["hint"] for finding in findings if finding["state"] != "ok")
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_a_fail_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr("sys.argv", ["bench", "doctor", "--store", "file"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert "FAIL  store: file: not a folder" in capsys.readouterr().out


def test_libraries_are_compared_with_their_requirements() -> None:
    required = [Requirement("torch>=2.11"), Requirement("ray[tune]>=2.50")]
    assert (
        checks._check_requirements(required, {"torch": "2.11.0+cpu", "ray": "2.60.0"}).state == "ok"
    )
    old = checks._check_requirements(required, {"torch": "2.9.1", "ray": None})
    assert (old.state, old.message) == ("fail", "torch 2.9.1 (>=2.11), ray is missing (>=2.50)")
    assert checks._check_python("3.10.2", ">=3.11").state == "fail"
    assert checks._check_python("3.13.0", ">=3.11").state == "ok"


def test_untested_versions_are_a_warning(tmp_path: Path) -> None:
    tested = tmp_path / "constraints.txt"
    assert checks._check_tested_versions({"torch": "2.13.0"}, tested).state == "ok"
    tested.write_text("# tested\ntorch==2.13.0\nHugging_Face.hub==1.0\n")
    assert (
        checks._check_tested_versions(
            {"torch": "2.13.0+cpu", "hugging-face-hub": "1.0"}, tested
        ).state
        == "ok"
    )
    other = checks._check_tested_versions({"torch": "2.12.0", "unlisted": "9"}, tested)
    assert (other.state, other.message) == ("warn", "torch 2.12.0 (tested: 2.13.0)")


@pytest.mark.parametrize(("free", "state"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_free_space_on_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: Usage(0, 0, free * 2**30))
    findings = checks.check_disks({"store": tmp_path / "not" / "yet"})
    assert [finding.state for finding in findings] == [state, state]


def test_a_store_that_cannot_be_written_renamed_or_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "not" / "yet"
    assert checks.check_store(store).state == "ok"

    class Unlocked:
        def __init__(self, path: Path) -> None:
            del path

        @contextmanager
        def acquire(self, timeout: float):
            yield

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    with monkeypatch.context() as patched:
        patched.setattr(checks, "FileLock", Unlocked)
        assert "acquired twice" in checks.check_store(store).message

    def lack(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patched:
        patched.setattr(run_directory.fcntl, "flock", lack)
        finding = checks.check_store(store)
        assert finding.state == "fail"
        assert "has no locks (flock)" in finding.message
        with (
            pytest.raises(BenchError, match="has no locks"),
            run_directory.open_run_directory(tmp_path / "s", tmp_path / "r", []),
        ):
            pass
        shutil.rmtree(tmp_path / "s")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(checks.os, "fsync", refuse)
        finding = checks.check_store(store)
    assert (finding.state, finding.message) == ("fail", f"{store}: Permission denied")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cached_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert checks.check_cached_files().message.startswith("0 of ")
    file = encoder_card("all-minilm-l6-v2").files["config"]
    path = cached_path(file)
    path.parent.mkdir(parents=True)
    path.write_text("something else")
    finding = checks.check_cached_files()
    assert (finding.state, str(path) in finding.message) == ("fail", True)


def test_broken_plug_ins_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    assert [finding.state for finding in checks.check_plugins()] == ["ok"]
    (tmp_path / "wrong.py").write_text("class Method:\n    pass\n")
    (tmp_path / "ends.py").write_text("class Method:\n    raise SystemExit\n")
    broken = [(finding.state, finding.message.split(":")[0]) for finding in checks.check_plugins()]
    assert broken == [("warn", "ends"), ("warn", "wrong")]
    monkeypatch.setenv("BENCH_PATH", str(tmp_path / "nowhere"))
    assert [finding.state for finding in checks.check_plugins()] == ["fail"]


def test_silent_hosts_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_answers", lambda host: host != checks.HUB)
    (finding,) = checks.check_network()
    assert (finding.state, finding.message.endswith(f": {checks.HUB}")) == ("warn", True)
    monkeypatch.setattr(checks, "_answers", lambda host: True)
    assert checks.check_network()[0].state == "ok"


def test_locally_available_data_sets(tmp_path: Path) -> None:
    assert "synthetic" in checks.check_datasets(None).message
    assert checks.check_datasets(tmp_path / "nowhere").state == "warn"


@pytest.mark.slow
def test_ray_starts_here() -> None:
    assert checks.check_ray().state == "ok"
