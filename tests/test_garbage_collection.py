"""What `bench cache gc` keeps, what it frees, and what a kill leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.runner.garbage_collection import (
    DAMAGED,
    DAY,
    INCOMPLETE,
    SET_ASIDE,
    find_unused_assets,
    get_last_use,
    remove_garbage,
    survey_store,
)
from bench.runner.store import ASIDE, BUILDING, META, DamagedArtifactError, Store

SMOKE = ("run", "--suite", "smoke", "--seeds", "1", "--executor", "inline", "--json")

Bench = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def age(path: Path, days: float) -> None:
    """Let a path, and all in it, have been written and read so many days ago."""
    then = time.time() - days * DAY
    for item in (path, *path.rglob("*")):
        os.utime(item, (then, then), follow_symlinks=False)


def make(store: Store, key: str, *, days: float = 100, inputs: tuple[str, ...] = ()) -> Path:
    with store.building("sft", key) as folder:
        (folder / "payload.txt").write_text(f"weights of {key}")
        input_keys = {f"input{number}": name for number, name in enumerate(inputs)}
        made = store.commit("sft", key, folder, {"seconds": 1.0, "inputs": input_keys})
    age(made, days)
    return made


def find_garbage(store: Store, *needed: str, keep_days: float = 30) -> set[str]:
    return {item.key for item in survey_store(store, needed, keep_days=keep_days).garbage}


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- what stays ---------------------------------------------------------------------------------


def test_needed_and_recent_artifacts_stay_with_their_inputs(store: Store) -> None:
    make(store, "root")
    make(store, "middle", inputs=("root",))
    make(store, "named", inputs=("middle", "of another store"))
    make(store, "recent", days=29, inputs=("source",))
    make(store, "source")
    make(store, "old", inputs=("root",))
    make(store, "older", days=31)
    survey = survey_store(store, {"named"}, keep_days=30)
    assert {item.key for item in survey.garbage} == {"old", "older"}
    assert survey.num_kept == 5
    assert survey.kept_bytes == sum(
        len(f"weights of {key}") for key in ("root", "middle", "named", "recent", "source")
    )
    assert find_garbage(store, keep_days=1000) == set()
    assert len(find_garbage(store, keep_days=0)) == 7


def test_reading_counts_as_use_and_listing_does_not(store: Store) -> None:
    folder = make(store, "k")
    made = get_last_use(folder)
    now = time.time()
    os.utime(folder / META, (now, now))
    assert get_last_use(folder) == made
    assert find_garbage(store) == {"k"}
    os.utime(folder / "payload.txt", (now, made))
    assert get_last_use(folder) == pytest.approx(now, abs=1)
    assert find_garbage(store) == set()


def test_locked_artifacts_stay(store: Store) -> None:
    make(store, "k")
    half = store.root / BUILDING / "sft-now-abcd"
    half.mkdir(parents=True)
    garbage = {item.key: item for item in survey_store(store, (), keep_days=30).garbage}
    assert {item.kind for item in garbage.values()} == {"sft", INCOMPLETE}
    with store.lock("sft", "k"), store.lock("sft", "now"):
        assert [remove_garbage(store, item) for item in garbage.values()] == [False, False]
        assert store.has("sft", "k")
        assert half.is_dir()
    assert [remove_garbage(store, item) for item in garbage.values()] == [True, True]
    assert not store.has("sft", "k")
    assert list((store.root / BUILDING).iterdir()) == []


def test_damaged_artifacts_set_aside_go_when_they_are_old(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("new", "old"):
        (make(store, key) / "payload.txt").unlink()
        with pytest.raises(DamagedArtifactError):
            store.open("sft", key)
    assert "moved to" in capsys.readouterr().err
    new, old = sorted((store.root / ASIDE).iterdir())
    age(new, 1)
    age(old, 40)
    (item,) = survey_store(store, (), keep_days=30).garbage
    assert (item.kind, item.path) == (SET_ASIDE, old)
    assert remove_garbage(store, item)
    assert list((store.root / ASIDE).iterdir()) == [new]


def test_what_is_no_artifact_of_its_key_is_listed_with_its_size_and_removed(store: Store) -> None:
    keys = [f"{number:032x}" for number in range(5)]
    sound, cut, unsealed, link, file = (make(store, key) for key in keys)
    (cut / "payload.txt").write_text("weig")
    (unsealed / META).unlink()
    for path in (link, file):
        shutil.rmtree(path)
    link.symlink_to("/nowhere")
    file.write_text("text")
    (store.root / "sft" / "notes").mkdir()  # no key
    found = {item.path: item for item in survey_store(store, keys, keep_days=30).garbage}
    assert {item.kind for item in found.values()} == {DAMAGED}
    sizes = {path: item.size for path, item in found.items()}
    meta = (cut / META).stat().st_size
    size = len(f"weights of {keys[2]}")
    assert sizes == {cut: 4 + meta, unsealed: size, link: len("/nowhere"), file: 4}
    make_again = store.folder("sft", keys[1])
    shutil.rmtree(make_again)
    make(store, keys[1])
    assert all(remove_garbage(store, item) for item in found.values())
    assert store.has("sft", keys[1])  # it was computed again meanwhile
    assert below(store.root / "sft") == sorted(
        [name for path in (sound, cut) for name in (path.name, f"{path.name}/{META}",
         f"{path.name}/payload.txt")] + ["notes"]
    )  # fmt: skip


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from bench.runner.garbage_collection import remove_garbage, survey_store
from bench.runner.store import Store

deleted = []
def rmtree(folder, **options):
    deleted.append(folder)
    if len(deleted) == 2:
        next(Path(folder).glob("*.txt")).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    genuine(folder, **options)
genuine, shutil.rmtree = shutil.rmtree, rmtree

store = Store(Path(sys.argv[1]))
for item in survey_store(store, {"kept"}, keep_days=30).garbage:
    remove_garbage(store, item)
"""


def test_a_kill_in_the_middle_leaves_whole_artifacts_only(store: Store) -> None:
    for key in ("a", "b", "c", "kept"):
        make(store, key)
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = {meta["key"] for meta in store.entries()}
    assert left == {"c", "kept"}
    assert {path.name for path in (store.root / "sft").iterdir()} == left
    rest = survey_store(store, {"kept"}, keep_days=30).garbage
    assert {item.kind for item in rest} == {"sft", INCOMPLETE}
    assert store.open("sft", "c")
    assert all(remove_garbage(store, item) for item in rest)
    assert list((store.root / BUILDING).iterdir()) == []
    assert find_garbage(store, "kept") == set()


# --- the asset cache ----------------------------------------------------------------------------


def test_of_the_cache_only_fetched_files_go(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    own = tmp_path / "own.txt"
    own.write_text("the user's own")
    needed, unneeded, link, recent = (cache / (digit * 16) for digit in "abcd")
    for folder in (needed, unneeded, link, recent):
        folder.mkdir(parents=True)
    for folder in (needed, unneeded, recent):
        (folder / "x.inter").write_text("12345")
    (link / "x.inter").symlink_to(own)
    (cache / "responses.jsonl").write_text("paid answers")
    (cache / "hub").mkdir()
    (cache / "hub" / "file").write_text("kept")
    age(cache, 40)
    age(recent, 1)
    garbage = list(find_unused_assets(cache, {f"{needed.name}/x.inter"}, keep_days=30))
    assert [item.path for item in garbage] == [unneeded / "x.inter", link / "x.inter"]
    assert garbage[0].size == 5
    assert all(remove_garbage(Store(tmp_path / "store"), item) for item in garbage)
    assert {path.name for path in cache.iterdir()} == {
        needed.name, recent.name, "responses.jsonl", "hub",
    }  # fmt: skip
    assert own.read_text() == "the user's own"


# --- the command --------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_no_board_and_no_result_names_is_freed_and_made_again(
    bench: Bench, tmp_path: Path
) -> None:
    both = (*SMOKE, "--method", "popularity", "--method", "random")
    assert bench(*both).code == 0
    nothing = bench("cache", "gc", "--keep-days", "0")
    assert "There is nothing to delete." in nothing.out
    # The board loses a row; its results still name what they were made of.
    bench(*SMOKE, "--method", "popularity")
    (record,) = (tmp_path / "results" / "boards").glob("*random*.json")
    record_of_both = record.read_bytes()
    record.unlink()
    assert json.loads(bench("cache", "gc", "--keep-days", "0", "--json").out)["bytes"] == 0
    (result,) = (tmp_path / "results" / "synthetic" / "random").rglob("seed-0.json")
    random = {stage["key"] for stage in json.loads(result.read_text())["stages"]}
    result.unlink()
    record.write_bytes(record_of_both)
    assert json.loads(bench("cache", "gc", "--keep-days", "0", "--json").out)["bytes"] == 0
    record.unlink()

    stored = below(tmp_path / ".bench" / "store")
    assert "There is nothing to delete." in bench("cache", "gc").out
    output = bench("cache", "gc", "--keep-days", "0").out
    assert "Nothing was deleted: add --yes." in output
    assert below(tmp_path / ".bench" / "store") == stored
    done = json.loads(bench("cache", "gc", "--keep-days", "0", "--yes", "--json").out)
    assert done["kinds"]["rank"]["count"] == 1
    assert done["bytes"] == sum(kind["bytes"] for kind in done["kinds"].values()) > 0
    kept = {line["key"] for line in json.loads(bench("cache", "ls", "--json").out)}
    assert len(kept) == done["kept"]["count"]
    assert sum(kind["count"] for kind in done["kinds"].values()) == len(random - kept)
    assert json.loads(bench(*SMOKE, "--method", "popularity").out)["stages"]["run"] == 0
    again = json.loads(bench(*both).out)
    assert again["trials"]["failed"] == 0
    assert again["stages"]["run"] == len(random - kept)


def test_nothing_goes_where_nobody_knows_what_is_needed(bench: Bench, tmp_path: Path) -> None:
    gc = ("cache", "gc", "--yes")
    assert "There are no results in results" in bench(*gc).err
    bench(*SMOKE, "--method", "popularity")
    make(Store(tmp_path / ".bench" / "store"), "k")
    (record,) = (tmp_path / "results" / "boards").iterdir()
    text = record.read_text()
    other = record.with_name("other.json")
    other.write_text(text[:50])
    damaged = bench(*gc)
    assert (damaged.code, "artifacts it needs are unknown" in damaged.err) == (2, True)
    other.write_text(text.replace('"method": "popularity"', '"method": "gone"'))
    gone = bench(*gc)
    assert (gone.code, "other that was run can no longer be planned" in gone.err) == (2, True)
    other.unlink()
    (result,) = (tmp_path / "results").rglob("seed-0.json")
    result.write_text("{}")
    assert "is not a result of schema version" in bench(*gc).err
    result.unlink()
    assert (tmp_path / ".bench" / "store" / "sft" / "k").is_dir()
    assert "Deleted: 1" in bench(*gc).out
    assert not (tmp_path / ".bench" / "store" / "sft" / "k").exists()


def test_every_folder_of_results_counts(bench: Bench, tmp_path: Path) -> None:
    bench(*SMOKE, "--method", "random", "--results", "one")
    bench(*SMOKE, "--method", "popularity", "--results", "two")
    gc = ("cache", "gc", "--keep-days", "0", "--json")
    assert json.loads(bench(*gc, "--results", "one").out)["bytes"] > 0
    assert json.loads(bench(*gc, "--results", "one", "--results", "two").out)["bytes"] == 0


def test_files_of_a_boards_data_stay(bench: Bench, tmp_path: Path) -> None:
    bench(*SMOKE, "--method", "popularity")
    (record,) = (tmp_path / "results" / "boards").iterdir()
    record.write_text(record.read_text().replace('"synthetic"', '"ml-100k"'))
    unneeded = tmp_path / "cache" / ("a" * 16)
    unneeded.mkdir(parents=True)
    from bench.config import plugins
    from bench.data.assets import cached_path

    needed = cached_path(plugins.dataset_card("ml-100k").files["items"])
    needed.parent.mkdir(parents=True)
    for path in (needed, unneeded / "x"):
        path.write_text("12345")
    age(tmp_path / "cache", 40)
    assert "asset" not in json.loads(bench("cache", "gc", "--json").out)["kinds"]
    kinds = json.loads(bench("cache", "gc", "--assets", "--yes", "--json").out)["kinds"]
    assert kinds["asset"] == {"count": 1, "bytes": 5}
    assert needed.is_file()
    assert not unneeded.exists()
