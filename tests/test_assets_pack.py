"""A run's needs, packed on one machine and unpacked on another without a network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pooch
import pytest
from huggingface_hub import constants

from bench.config.cards import RawFile
from bench.data import assets
from bench.data.encoders import encoder_files
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.plan.backbones import HubConfig
from bench.runner.offline import wheels
from bench.runner.offline.manifest import MANIFEST, Manifest, read_manifest
from bench.runner.offline.needs import Asset, at_hand, fetch, place
from bench.runner.offline.pack import packing
from bench.runner.offline.unpack import Places, unpack
from bench.runner.store import Store
from bench.stages import hub

CONTENT = bytes(range(256)) * 40
COMMIT = "c" * 40

Bench = Callable[..., SimpleNamespace]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(pooch.core, "choose_downloader", touched)
    monkeypatch.setattr(assets, "_download_wheel", touched)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """An empty asset cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def raw_asset(content: bytes = CONTENT, license: str = "Free.", name: str = "x.inter") -> Asset:
    """An asset whose file lies in the cache."""
    file = RawFile(name=name)
    path = assets.cached_place(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    file = file.model_copy(update={"sha256": checksum(path)})
    target = assets.cached_place(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return Asset(kind="data", owner="toy", license=license, homepage=None, file=file)


def packed(into: Path, *things: Asset, part_size: int | None = None) -> Manifest:
    with packing(into, part_size) as filling:
        for asset in things:
            filling.add_asset(asset, fetch(asset, data_dir=None, offline=True))
        return filling.finish({"board": "toy"}, ["A note."])


def places(folder: Path) -> Places:
    return Places(assets=folder / "cache", hub=folder / "hub", store=Store(folder / "store"))


def below(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


# --- whole suites -------------------------------------------------------------------------------


def test_generated_data_are_taken_along_prepared(bench: Bench, cache: Path, tmp_path: Path) -> None:
    smoke = ("--suite", "smoke", "--method", "popularity", "--seeds", "1")
    done = bench("assets", "pack", *smoke, "--prepared", "--into", "pack", "--store", "here")
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "pack")
    assert {file.room for file in manifest.files} == {"store"}
    assert manifest.asked == {"suite": "smoke", "method": ["popularity"], "seeds": "1"}
    assert "1 artifacts into there" in bench("assets", "unpack", "pack", "--store", "there").out
    assert (
        "0 artifacts into there; 1 were there"
        in bench("assets", "unpack", "pack", "--store", "there").out
    )
    run = ("run", *smoke, "--offline", "--executor", "inline", "--store", "there", "--json")
    counts = json.loads(bench(*run).out)
    assert counts["trials"] == {"ok": 1, "failed": 0, "skipped": 0}
    assert counts["stages"]["reused"] == 1


@pytest.mark.slow
def test_quick_goes_into_an_empty_cache_and_is_prepared_there(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    known = json.loads(bench("assets", "ls", "--suite", "quick", "--json").out)["assets"]
    if not all(line["at hand"] for line in known):
        pytest.skip("quick's files are not in this machine's cache: bench run --suite quick")
    words = ("--suite", "quick", "--into", "pack", "--part-size", "20MB", "--offline")
    done = bench("assets", "pack", *words)
    assert done.code == 0, done.err
    assert "the license of data ml-100k forbids passing the files on" in done.out
    sizes = [path.stat().st_size for path in (tmp_path / "pack").rglob("*") if path.is_file()]
    assert max(sizes) == 20_000_000
    forbidden = {file.owner: file.redistribution for file in read_manifest(Path("pack")).files}
    assert forbidden == {"data ml-100k": "forbidden", "encoder all-minilm-l6-v2": "see license"}

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    before = json.loads(bench("assets", "ls", "--suite", "quick", "--json").out)["assets"]
    assert not any(line["at hand"] for line in before)
    assert bench("data", "prepare", "ml-100k", "--offline").code == 2
    assert "BENCH_CACHE" in bench("assets", "unpack", "pack", "--into", "other").out
    assert json.loads(bench("assets", "ls", "--suite", "quick", "--json").out)["assets"] == known
    prepared = json.loads(bench("data", "prepare", "ml-100k", "--offline", "--json").out)
    assert prepared["ml-100k"]["counts"]["items"] == 1682
    plan = json.loads(bench("plan", "--suite", "quick", "--json").out)
    hits = {stage["kind"] for stage in plan["stages"] if stage["state"] == "hit"}
    assert hits == {"prepare"}
    _, files = encoder_files("all-minilm-l6-v2", offline=True)
    assert all((tmp_path / "other") in path.parents for path in files.values())


def test_what_is_not_at_hand_is_not_packed_offline(
    bench: Bench, cache: Path, tmp_path: Path
) -> None:
    done = bench("assets", "pack", "--suite", "quick", "--into", "pack", "--offline")
    assert done.code == 2
    assert "is not at hand, and --offline forbids to fetch it" in done.err
    assert below(tmp_path) == []
    listed = bench("assets", "ls", "--suite", "quick").out
    assert "5 assets, 5 not at hand; 89.1 MiB as far as known." in listed
    assert "Nothing is needed" in bench("assets", "ls", "--suite", "smoke").out


def test_what_is_the_users_own_is_named(bench: Bench, tmp_path: Path) -> None:
    own = tmp_path / "llama"
    own.mkdir()
    (own / "config.json").write_text("{}")
    (own / "model.safetensors").write_bytes(b"weights")
    words = ("--method", "bigrec", "--dataset", "synthetic", "--seeds", "1")
    model = ("--model", "llama-3.2-1b-instruct", "--model-path", str(own))
    listed = json.loads(bench("assets", "ls", *words, *model, "--json").out)
    assert {line["kind"] for line in listed["assets"]} == {"encoder"}
    assert "llama-3.2-1b-instruct (--model-path) is your own" in listed["notes"][0]


# --- files and parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 201, 950])
def test_a_file_in_parts_is_the_file(cache: Path, tmp_path: Path, size: int) -> None:
    asset = raw_asset(CONTENT[:size])
    assert asset.file is not None
    manifest = packed(tmp_path / "pack", asset, part_size=100)
    (file,) = read_manifest(tmp_path / "pack").files
    assert [part.size for part in file.parts] == [100] * (size // 100) + [size % 100] * (
        size % 100 > 0 or size == 0
    )
    assert (file.size, file.sha256) == (size, asset.file.sha256)
    there = places(tmp_path / "there")
    assert unpack(tmp_path / "pack", manifest, there) == {"files": 1, "artifacts": 0, "there": 0}
    assert (there.assets / place(asset.file)).read_bytes() == CONTENT[:size]
    assert unpack(tmp_path / "pack", manifest, there) == {"files": 0, "artifacts": 0, "there": 1}


@pytest.mark.parametrize("damage", ["missing", "shorter", "altered"])
def test_nothing_is_written_where_a_part_is_not_as_it_was(
    cache: Path, tmp_path: Path, damage: str
) -> None:
    manifest = packed(tmp_path / "pack", raw_asset(b"other"), raw_asset(), part_size=4000)
    name = manifest.files[-1].parts[-1].name
    assert name.endswith("x.inter.part-0003")
    part = tmp_path / "pack" / name
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-1] + (b"" if damage == "shorter" else b"!"))
    with pytest.raises(BenchError) as caught:
        unpack(tmp_path / "pack", manifest, places(tmp_path / "there"))
    assert name in caught.value.message
    assert not (tmp_path / "there").exists()


def test_parts_in_another_order_are_not_the_file(cache: Path, tmp_path: Path) -> None:
    packed(tmp_path / "pack", raw_asset(), part_size=8000)
    path = tmp_path / "pack" / MANIFEST
    content = json.loads(path.read_text())
    content["files"][0]["parts"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="do not make the file"):
        unpack(tmp_path / "pack", read_manifest(tmp_path / "pack"), places(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_another_file_in_a_files_place_is_kept(cache: Path, tmp_path: Path) -> None:
    asset = raw_asset()
    manifest = packed(tmp_path / "pack", raw_asset(b"first"), asset)
    there = places(tmp_path / "there")
    assert asset.file is not None
    target = there.assets / place(asset.file)
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(BenchError, match="is another file than the pack's"):
        unpack(tmp_path / "pack", manifest, there)
    assert target.read_bytes() == b"mine"
    assert below(tmp_path / "there") == [f"cache/{place(asset.file)}"]


@pytest.mark.parametrize("place", ["../x", "/etc/x", "a/../../x", "a\\x", ""])
def test_a_manifest_that_leads_elsewhere_is_refused(
    cache: Path, tmp_path: Path, place: str
) -> None:
    packed(tmp_path / "pack", raw_asset())
    path = tmp_path / "pack" / MANIFEST
    content = json.loads(path.read_text())
    content["files"][0]["place"] = place
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="leads out of the folder"):
        read_manifest(tmp_path / "pack")
    path.unlink()
    with pytest.raises(BenchError, match="holds no manifest"):
        read_manifest(tmp_path / "pack")


def test_a_pack_is_whole_or_not_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), packing(tmp_path / "pack", None) as filling:
        filling.add_asset(raw_asset(), at_hand(raw_asset(), None))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    packed(tmp_path / "pack", raw_asset())
    with pytest.raises(BenchError, match="is not empty"):
        packed(tmp_path / "pack", raw_asset())
    with pytest.raises(BenchError, match="would be 10240 parts"):
        packed(tmp_path / "tiny", raw_asset(), part_size=1)


def test_an_unreadable_size_is_refused(bench: Bench) -> None:
    words = ("assets", "pack", "--suite", "smoke", "--into", "pack", "--part-size")
    assert "is no size" in bench(*words, "large").err
    assert "at least one byte" in bench(*words, "0").err


# --- the hub ------------------------------------------------------------------------------------


def test_a_backbone_of_the_hub_is_found_where_it_was_unpacked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = Asset(
        kind="backbone", owner="m", license="L", homepage=None, repository="o/m", revision=COMMIT
    )
    snapshot = tmp_path / "hf" / "models--o--m" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    kept = {"config.json": b"{}", "model.safetensors": b"w", "tokenizer.json": b"t"}
    for name, content in {**kept, "pytorch_model.bin": b"a pickle"}.items():
        (snapshot / name).write_bytes(content)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert at_hand(asset, None) == {}
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    manifest = packed(tmp_path / "pack", asset)

    there = places(tmp_path / "there")
    unpack(tmp_path / "pack", manifest, there)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(there.hub))
    (tmp_path / "out").mkdir()
    job = Job(out=tmp_path / "out", offline=True)
    hub.run(job, HubConfig(name="m", repository="o/m", revision=COMMIT), {})
    folder = Path(json.loads((job.out / hub.POINTER).read_text())["folder"])
    assert there.hub in folder.parents
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


# --- wheels -------------------------------------------------------------------------------------


def test_wheels_are_joined_and_installed_without_this_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **options: Any) -> None:
        asked.append(command)
        folder = Path(command[command.index("--wheel-dir") + 1])
        (folder / "big-1.0-py3-none-any.whl").write_bytes(CONTENT)
        (folder / "small-1.0-py3-none-any.whl").write_bytes(b"small")

    monkeypatch.setattr(wheels.subprocess, "run", pip)
    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==2.4.6\n")
    (tmp_path / "found").mkdir()
    wheels.collect(tmp_path / "found", pins)
    assert str(pins) in asked[0]
    with packing(tmp_path / "a pack", 1000) as filling:
        filling.add_wheels(tmp_path / "found")
        manifest = filling.finish({}, [])
    monkeypatch.undo()
    joining, install = wheels.wheel_commands(manifest)
    assert "--no-index" in install
    readme = (tmp_path / "a pack" / "README.txt").read_text()
    assert joining in readme
    assert install in readme
    subprocess.run(["sh", "-c", joining], cwd=tmp_path / "a pack", check=True)
    folder = tmp_path / "a pack" / "wheels"
    assert (folder / "big-1.0-py3-none-any.whl").read_bytes() == CONTENT
    assert (folder / "small-1.0-py3-none-any.whl").read_bytes() == b"small"


def test_pips_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **options: Any) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="x\nERROR: No matching y.\nnote\n")

    monkeypatch.setattr(wheels.subprocess, "run", pip)
    pins = tmp_path / "pins.txt"
    with pytest.raises(BenchError, match="is no file"):
        wheels.collect(tmp_path, pins)
    pins.touch()
    with pytest.raises(BenchError, match=r"could not collect the wheels: No matching y\."):
        wheels.collect(tmp_path, pins)
