from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import Timeout

from bench.errors import BenchError
from bench.files import write_atomic
from bench.runner.store import ASIDE, BUILDING, META, DamagedArtifactError, Store


def make(store: Store, kind: str = "sft", key: str = "k1", content: str = "weights") -> Path:
    with store.building(kind, key) as folder:
        (folder / "payload.txt").write_text(content)
        return store.commit(kind, key, folder, {"seconds": 1.0, "metadata": {}})


def test_an_artifact_is_complete_with_its_metadata(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has("sft", "k1")
    folder = make(store)
    assert store.has("sft", "k1")
    assert store.open("sft", "k1") == folder
    meta = json.loads((folder / META).read_text())
    assert meta["files"]["payload.txt"]["size"] == len("weights")


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.building("sft", "k1") as folder:
        (folder / "payload.txt").write_text("half")
        raise RuntimeError
    assert not store.has("sft", "k1")
    assert list((tmp_path / BUILDING).iterdir()) == []


def replace_by(folder: Path, create: Callable[[Path], object]) -> None:
    shutil.rmtree(folder)
    create(folder)


def copy_from(folder: Path, kind: str, key: str) -> None:
    """Put the artifact of another kind or key in its place."""
    replace_by(folder, lambda path: shutil.copytree(make(Store(path.parents[1]), kind, key), path))


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a truncated payload": lambda folder: (folder / "payload.txt").write_text("wei"),
    "an empty record": lambda folder: (folder / META).write_text(""),
    "a truncated record": lambda folder: (folder / META).write_text("{"),
    "a deep record": lambda folder: (folder / META).write_text("[" * 100_000),
    "a changed digit in the record": lambda folder: edit(folder / META, "1.0", "9.0"),
    "a missing file": lambda folder: (folder / "payload.txt").unlink(),
    "an artifact of another key": lambda folder: copy_from(folder, "sft", "k2"),
    "an artifact of another kind": lambda folder: copy_from(folder, "rank", "k1"),
    "a dangling link": lambda folder: replace_by(folder, lambda path: path.symlink_to("gone")),
    "a link to itself": lambda folder: replace_by(folder, lambda path: path.symlink_to(path)),
    "a file": lambda folder: replace_by(folder, lambda path: path.write_text("x")),
    "an empty folder": lambda folder: replace_by(folder, lambda path: path.mkdir()),
    "a kind that is a dangling link": lambda folder: replace_by(
        folder.parent, lambda path: path.symlink_to("gone")
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_artifact_is_moved_aside_when_the_artifact_is_computed(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    DAMAGES[damage](make(store))
    for _ in range(2):  # looking changes nothing
        assert not store.has("sft", "k1")
        assert not (tmp_path / ASIDE).exists()
    make(store)
    assert Store(tmp_path).open("sft", "k1")
    assert len(list((tmp_path / ASIDE).iterdir())) == 1
    assert "moved to" in capsys.readouterr().err


def test_an_artifact_that_is_committed_meanwhile_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears right after the look that did not find it."""
    store, read_bytes = Store(tmp_path), Path.read_bytes

    def commit_after_reading(path: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        try:
            return path.read_bytes()
        finally:
            make(Store(tmp_path))

    monkeypatch.setattr(Path, "read_bytes", commit_after_reading)
    assert not store.has("sft", "k1")
    assert store.has("sft", "k1")
    assert not (tmp_path / ASIDE).exists()


def test_a_changed_byte_is_detected_when_the_artifact_is_opened(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = make(store)
    (folder / "payload.txt").write_text("Weights")
    with pytest.raises(DamagedArtifactError, match="missing or damaged"):
        Store(tmp_path).open("sft", "k1")
    assert not store.has("sft", "k1")


def hold(root: Path) -> None:
    with Store(root).lock("sft", "k1"):
        (root / "held").touch()
        time.sleep(60)


def test_a_lock_ends_with_its_owner(tmp_path: Path) -> None:
    owner = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path,))
    owner.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.02)
    with pytest.raises(Timeout):
        Store(tmp_path).lock("sft", "k1").acquire(timeout=0)
    owner.kill()
    owner.join()
    with Store(tmp_path).lock("sft", "k1").acquire(timeout=5):
        assert Store(tmp_path).has("sft", "k1") is False


def test_removing_frees_what_the_files_took(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    assert store.remove("sft", "k1") == len("weights")
    assert not store.has("sft", "k1")


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(BenchError, match="is not a folder"):
        Store(tmp_path / "store")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]
