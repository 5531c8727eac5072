"""Offline bundles: packed on one machine and unpacked on another without a network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pooch
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from bench.config.cards import RawFile
from bench.config.plugins import encoder_card, model_card
from bench.data import assets, sources
from bench.data.assets import local_file
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.plan.backbones import HubConfig
from bench.runner.offline.manifest import MANIFEST, Manifest, read_manifest
from bench.runner.offline.needs import Asset, fetch_asset, find_local_files, get_cache_path
from bench.runner.offline.pack import build_wheels, get_install_command, write_bundle
from bench.runner.offline.unpack import Destination, unpack
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
    monkeypatch.setattr(sources, "download_wheel", touched)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """An empty asset cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def raw_asset(
    content: bytes = CONTENT, license_note: str = "Free.", name: str = "x.inter"
) -> Asset:
    """An asset whose file lies in the cache."""
    file = RawFile(name="x.inter")
    path = assets.cached_path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    file = file.model_copy(update={"sha256": checksum(path)})
    target = assets.cached_path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return Asset(kind="data", owner="toy", license="Free.", homepage=None, file=file)


def pack(into: Path, *assets: Asset) -> Manifest:
    with write_bundle(into) as bundle:
        for asset in assets:
            bundle.add_asset(asset, fetch_asset(asset, data_dir=None, offline=True))
        return bundle.finish({"board": "toy"}, ["A note."])


def locate(folder: Path) -> Destination:
    return Destination(assets=folder / "cache", hub=folder / "hub", store=Store(folder / "store"))


def below(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


# --- suites --------------------------------------------------------------------------------------


def test_generated_data_are_taken_along_prepared(bench: Bench, cache: Path, tmp_path: Path) -> None:
    smoke = ("--suite", "smoke", "--method", "popularity", "--seeds", "1")
    done = bench("assets", "pack", *smoke, "--prepared", "--into", "pack", "--store", "here")
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "pack")
    assert {file.section for file in manifest.files} == {"store"}
    assert manifest.options == {"suite": "smoke", "methods": ["popularity"], "seeds": "1"}
    assert "1 artifacts into there" in bench("assets", "unpack", "pack", "--store", "there").out
    assert (
        "0 artifacts into there; 1 were already there"
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
    if not all(line["local"] for line in known):
        pytest.skip("quick's files are not in this machine's cache: bench run --suite quick")
    done = bench("assets", "pack", "--suite", "quick", "--into", "pack", "--offline")
    assert done.code == 0, done.err
    assert "the license of data ml-100k forbids redistribution" in done.out
    forbidden = {file.owner: file.redistribution for file in read_manifest(Path("pack")).files}
    assert forbidden == {"data ml-100k": "forbidden", "encoder all-minilm-l6-v2": "see license"}

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    before = json.loads(bench("assets", "ls", "--suite", "quick", "--json").out)["assets"]
    assert not any(line["local"] for line in before)
    assert bench("data", "prepare", "ml-100k", "--offline").code == 2
    assert "BENCH_CACHE" in bench("assets", "unpack", "pack", "--into", "other").out
    assert json.loads(bench("assets", "ls", "--suite", "quick", "--json").out)["assets"] == known
    prepared = json.loads(bench("data", "prepare", "ml-100k", "--offline", "--json").out)
    assert prepared["ml-100k"]["counts"]["items"] == 1682
    plan = json.loads(bench("plan", "--suite", "quick", "--json").out)
    hits = {stage["kind"] for stage in plan["stages"] if stage["state"] == "hit"}
    assert hits == {"prepare"}
    files = encoder_card("all-minilm-l6-v2").files.values()
    assert all((tmp_path / "other") in (local_file(file, None) or Path()).parents for file in files)


def test_what_is_not_at_hand_is_not_packed_offline(
    bench: Bench, cache: Path, tmp_path: Path
) -> None:
    done = bench("assets", "pack", "--suite", "quick", "--into", "pack", "--offline")
    assert done.code == 2
    assert "is not available locally, and --offline is set" in done.err
    assert below(tmp_path) == []
    listed = bench("assets", "ls", "--suite", "quick").out
    assert "5 assets, 5 not available locally; 89.1 MiB of known size." in listed
    assert "needs no assets" in bench("assets", "ls", "--suite", "smoke").out


def test_what_is_the_users_own_is_named(bench: Bench, tmp_path: Path) -> None:
    own = tmp_path / "llama"
    own.mkdir()
    shape = model_card("llama-3.2-1b-instruct").shape
    (own / "config.json").write_text(json.dumps(shape))
    (own / "model.safetensors").write_bytes(b"weights")
    words = ("--method", "bigrec", "--dataset", "synthetic", "--seeds", "1")
    model = ("--model", "llama-3.2-1b-instruct", "--model-path", f"llama-3.2-1b-instruct={own}")
    listed = json.loads(bench("assets", "ls", *words, *model, "--json").out)
    assert {line["kind"] for line in listed["assets"]} == {"encoder"}
    assert "llama-3.2-1b-instruct (--model-path) is your own" in listed["notes"][0]


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 950])
def test_an_unpacked_file_equals_the_packed_one(cache: Path, tmp_path: Path, size: int) -> None:
    asset = raw_asset(CONTENT[:size])
    assert asset.file is not None
    manifest = pack(tmp_path / "pack", asset)
    (file,) = read_manifest(tmp_path / "pack").files
    assert (file.size, file.sha256) == (size, asset.file.sha256)
    there = locate(tmp_path / "there")
    assert unpack(tmp_path / "pack", manifest, there) == {"files": 1, "artifacts": 0, "present": 0}
    assert (there.assets / get_cache_path(asset.file)).read_bytes() == CONTENT[:size]
    assert unpack(tmp_path / "pack", manifest, there) == {"files": 0, "artifacts": 0, "present": 1}


@pytest.mark.parametrize("damage", ["missing", "shorter", "altered"])
def test_nothing_is_written_if_a_file_is_not_as_it_was(
    cache: Path, tmp_path: Path, damage: str
) -> None:
    manifest = pack(tmp_path / "pack", raw_asset(b"other"), raw_asset())
    name = manifest.files[-1].name
    path = tmp_path / "pack" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + (b"" if damage == "shorter" else b"!"))
    with pytest.raises(BenchError) as caught:
        unpack(tmp_path / "pack", manifest, locate(tmp_path / "there"))
    assert name in caught.value.message
    assert not (tmp_path / "there").exists()


def test_another_file_in_a_files_place_is_kept(cache: Path, tmp_path: Path) -> None:
    asset = raw_asset()
    manifest = pack(tmp_path / "pack", raw_asset(b"first"), asset)
    there = locate(tmp_path / "there")
    assert asset.file is not None
    target = there.assets / get_cache_path(asset.file)
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(BenchError, match="differs from the bundle's file"):
        unpack(tmp_path / "pack", manifest, there)
    assert target.read_bytes() == b"mine"
    assert below(tmp_path / "there") == [f"cache/{get_cache_path(asset.file)}"]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\x", ""])
def test_a_path_that_leads_out_of_the_bundle_is_refused(
    cache: Path, tmp_path: Path, path: str
) -> None:
    pack(tmp_path / "pack", raw_asset())
    manifest = tmp_path / "pack" / MANIFEST
    content = json.loads(manifest.read_text())
    content["files"][0]["path"] = path
    manifest.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="leads out of the folder"):
        read_manifest(tmp_path / "pack")
    manifest.unlink()
    with pytest.raises(BenchError, match="has no manifest"):
        read_manifest(tmp_path / "pack")


def forge(tmp_path: Path, section: str, kind: str = "prepare", meta_key: str = "") -> Manifest:
    """A bundle with good checksums whose only fault is what it holds."""
    key = "0" * 32
    artifact, real_kind = Store(tmp_path / "forged"), kind if section == "store" else "prepare"
    with artifact.building(real_kind, meta_key or key) as folder:
        (folder / "evaluation.json").write_text("{}")
        path = artifact.commit(real_kind, meta_key or key, folder, {"seconds": 0.0})
    if meta_key:  # copied under another key
        path = path.rename(path.with_name(key))
    files = {f"{kind}/{key}/{each.name}": each for each in path.iterdir()}
    if section == "unlisted":
        files[f"{kind}/{key}/extra.json"] = path / "evaluation.json"
    elif section != "store":
        files = {kind: path / "evaluation.json"}
    with write_bundle(tmp_path / "pack") as bundle:
        name: Any = "store" if section == "unlisted" else section
        bundle.add_files(name, files, owner="o", license_note="l")
        return bundle.finish({}, [])


@pytest.mark.parametrize(
    ("section", "kind", "key"),
    [
        *(("store", kind, "") for kind in ("evaluate", "evaluate_lists", "rank", "sft")),
        ("store", "prepare", "1" * 32),
        ("unlisted", "prepare", ""),
        ("assets", "x.dat", ""),
        ("assets", "models/x.dat", ""),
        ("hub", "models--a--b/snapshots/main/config.json", ""),
        ("hub", f"models--a--b/snapshots/{'0' * 40}/code.py", ""),
        ("wheels", "evil.tar.gz", ""),
    ],
)
def test_only_what_is_packed_is_unpacked(tmp_path: Path, section: str, kind: str, key: str) -> None:
    manifest = forge(tmp_path, section, kind, key)
    with pytest.raises(BenchError, match=r"nothing that `bench assets pack` writes|incomplete or"):
        unpack(tmp_path / "pack", manifest, locate(tmp_path / "there"))
    assert not [path for path in below(tmp_path / "there") if not path.startswith("store/.")]


def test_a_bundle_is_complete_or_absent(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_bundle(tmp_path / "pack") as bundle:
        bundle.add_asset(raw_asset(), find_local_files(raw_asset(), None))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    pack(tmp_path / "pack", raw_asset())
    with pytest.raises(BenchError, match="is not empty"):
        pack(tmp_path / "pack", raw_asset())


# --- the hub ------------------------------------------------------------------------------------


def test_a_backbone_of_the_hub_is_found_where_it_was_unpack(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = Asset(
        kind="backbone", owner="m", license="L", homepage=None, repository="o/m", revision=COMMIT
    )
    snapshot = tmp_path / "hf" / "models--o--m" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    files = {
        "config.json": b"{}",
        "model.safetensors": save({"w": np.ones(1)}),
        "tokenizer.json": b"t",
    }
    for name, content in {**files, "pytorch_model.bin": b"a pickle"}.items():
        (snapshot / name).write_bytes(content)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert find_local_files(asset, None) == {}
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    manifest = pack(tmp_path / "pack", asset)

    there = locate(tmp_path / "there")
    unpack(tmp_path / "pack", manifest, there)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(there.hub))
    (tmp_path / "out").mkdir()
    job = Job(out=tmp_path / "out", offline=True)
    hub.run(job, HubConfig(name="m", repository="o/m", revision=COMMIT), {})
    folder = Path(json.loads((job.out / hub.POINTER).read_text())["folder"])
    assert there.hub in folder.parents
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


# --- wheels -------------------------------------------------------------------------------------


def test_wheels_are_bundled_with_the_command_that_installs_them(
    bench: Bench, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **options: Any) -> None:
        commands.append(command)
        folder = Path(command[command.index("--wheel-dir") + 1])
        (folder / "small-1.0-py3-none-any.whl").write_bytes(b"small")

    monkeypatch.setattr(sources.subprocess, "run", pip)
    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==2.4.6\n")
    options = ("--wheels", "--constraints", str(pins), "--into", "a pack")
    assert bench("assets", "pack", "--suite", "smoke", *options).code == 0
    assert str(pins) in commands[0]
    (file,) = read_manifest(tmp_path / "a pack").select("wheels")
    assert (file.path, file.owner) == ("small-1.0-py3-none-any.whl", "small")
    install = get_install_command("wheels")
    assert "--no-index" in install
    assert install in (tmp_path / "a pack" / "README.txt").read_text()


def test_the_reason_of_pip_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **options: Any) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="x\nERROR: No matching y.\nnote\n")

    monkeypatch.setattr(sources.subprocess, "run", pip)
    pins = tmp_path / "pins.txt"
    with pytest.raises(BenchError, match="does not exist"):
        build_wheels(tmp_path, pins)
    pins.touch()
    with pytest.raises(BenchError, match=r"could not be collected: pip: No matching y\."):
        build_wheels(tmp_path, pins)
