from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from filelock import Timeout

from bench.errors import BenchError
from bench.files import write_atomic
from bench.runner.store import ASIDE, BUILDING, META, Store


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


@pytest.mark.parametrize(
    "damage", ["truncate payload", "empty record", "damaged record", "no file"]
)
def test_an_incomplete_artifact_is_moved_aside(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    folder = make(store)
    if damage == "truncate payload":
        (folder / "payload.txt").write_text("wei")
    elif damage == "empty record":
        (folder / META).write_text("")
    elif damage == "damaged record":
        (folder / META).write_text((folder / META).read_text()[:40])
    else:
        (folder / "payload.txt").unlink()
    assert not store.has("sft", "k1")
    assert len(list((tmp_path / ASIDE).iterdir())) == 1
    assert "moved to" in capsys.readouterr().err
    make(store)
    assert store.has("sft", "k1")


def test_a_changed_byte_is_detected_when_the_artifact_is_opened(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = make(store)
    (folder / "payload.txt").write_text("Weights")
    with pytest.raises(BenchError, match="missing or damaged"):
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
