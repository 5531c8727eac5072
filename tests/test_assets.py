"""Raw files: at hand, in the cache, from a wheel, from an address, and all that can go wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pooch
import pytest
import requests

from bench.config import plugins
from bench.config.cards import DatasetCard, RawFile, Source
from bench.data import assets, sources
from bench.data.user_files import describe_other_versions, link_files, parse_files
from bench.errors import BenchError
from bench.hashing import checksum

CONTENT = b"user_id:token\n" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()
URL = Source(url="https://example.org/data/x.inter")
WHEEL = Source(wheel="toydata==1.0", path="toydata/x.inter")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network: a test that reaches for it fails."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def no_download(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(pooch.core, "choose_downloader", no_download)
    monkeypatch.setattr(sources, "download_wheel", no_download)
    return tmp_path / "cache"


def raw_file(*sources: Source, sha256: str | None = SUM) -> RawFile:
    return RawFile(name="x.inter", sha256=sha256, sources=sources)


def fetch(file: RawFile, data_dir: Path | None = None, *, offline: bool = False) -> Path:
    card = SimpleNamespace(license="Research only.", homepage="https://example.org")
    return assets.fetch(file, card, "toy", data_dir=data_dir, offline=offline)


def refusal(file: RawFile, data_dir: Path | None = None, *, offline: bool = False) -> BenchError:
    with pytest.raises(BenchError) as caught:
        fetch(file, data_dir, offline=offline)
    assert caught.value.hint
    return caught.value


def serve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], bytes]) -> list[str]:
    """Let pooch download from a function; returns the addresses asked for."""
    addresses: list[str] = []

    def download(url: str, output: Any, _pooch: object) -> None:
        addresses.append(url)
        Path(output).write_bytes(CONTENT[:100])
        Path(output).write_bytes(answer(url))

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar: download)
    return addresses


def serve_wheel(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> None:
    def download(requirement: str, folder: Path) -> None:
        build_wheel(folder, members)

    monkeypatch.setattr(sources, "download_wheel", download)


def build_wheel(folder: Path, members: dict[str, bytes]) -> None:
    about = {
        "toydata-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toydata\nVersion: 1.0\n",
        "toydata-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
        "toydata-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / "toydata-1.0-py3-none-any.whl", "w") as archive:
        for name, content in {**about, **members}.items():
            archive.writestr(name, content)


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- at hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "ml-100k"])
def test_the_users_own_file_comes_first(tmp_path: Path, place: str) -> None:
    own = tmp_path / "own"
    (own / place).mkdir(parents=True)
    (own / place / "x.inter").write_bytes(CONTENT)
    assert fetch(raw_file(URL, WHEEL), own, offline=True) == own / place / "x.inter"


@pytest.mark.parametrize("place", [".", "ml-100k"])
def test_a_gzipped_copy_stands_in_for_the_users_own_file(tmp_path: Path, place: str) -> None:
    own = tmp_path / "own"
    (own / place).mkdir(parents=True)
    packed = own / place / "x.inter.gz"
    packed.write_bytes(gzip.compress(CONTENT, mtime=0))
    assert fetch(raw_file(sha256=None), own, offline=True) == packed
    declared = checksum(packed)
    assert fetch(raw_file(sha256=declared), own, offline=True) == packed
    assert "not available locally" in refusal(raw_file(URL, sha256=SUM), own, offline=True).message
    plain = own / "x.inter"
    plain.write_bytes(CONTENT)
    assert fetch(raw_file(sha256=None), own, offline=True) == plain


def test_two_gzipped_copies_are_told_apart_like_plain_ones(tmp_path: Path) -> None:
    for place, content in (("a", b"one"), ("b", b"other")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.inter.gz").write_bytes(gzip.compress(content, mtime=0))
    assert "several files" in refusal(raw_file(sha256=None), tmp_path).message
    declared = checksum(tmp_path / "b" / "x.inter.gz")
    path = fetch(raw_file(sha256=declared), tmp_path, offline=True)
    assert path == tmp_path / "b" / "x.inter.gz"


def test_a_file_of_the_users_with_another_sum_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_bytes(b"other")
    message = refusal(raw_file(URL), tmp_path).message
    assert str(tmp_path / "x.inter") in message
    assert SUM[:12] in message
    assert hashlib.sha256(b"other").hexdigest()[:12] in message
    assert (tmp_path / "x.inter").read_bytes() == b"other"


def test_of_two_releases_the_one_with_the_declared_sum_is_meant(tmp_path: Path) -> None:
    for folder, content in (("a", b"other"), ("b", CONTENT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.inter").write_bytes(content)
    assert fetch(raw_file(), tmp_path).parent.name == "b"
    with pytest.raises(BenchError, match="several files"):
        fetch(raw_file(sha256=None), tmp_path)


def test_a_data_dir_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(raw_file(URL), tmp_path / "none").message


def test_checksums_are_declared_or_computed_or_unknown(tmp_path: Path) -> None:
    card = DatasetCard(
        title="t",
        description="d",
        license="l",
        citation="c",
        reader="recbole",
        files={
            "declared": RawFile(name="no", sha256="0" * 64),
            "own": raw_file(sha256=None),
            "missing": RawFile(name="absent"),
        },
    )
    (tmp_path / "x.inter").write_bytes(CONTENT)
    path = assets.checksums(card, tmp_path)
    assert path == {"declared": "0" * 64, "own": SUM, "missing": None}


def test_the_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert assets.cache_folder() == cache
    monkeypatch.delenv("BENCH_CACHE")
    assert "llmrec-bench" in assets.cache_folder().parts


# --- named by the user --------------------------------------------------------------------------


def card(sha256: str | None = SUM) -> DatasetCard:
    texts = dict.fromkeys(("title", "description", "license", "citation"), "Toy.")
    return DatasetCard(reader="recbole", files={"items": raw_file(URL, sha256=sha256)}, **texts)


def own_file(folder: Path, content: bytes = b"own") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "part.txt"
    path.write_bytes(content)
    return path


def test_a_named_file_is_linked_and_found_under_its_sum(tmp_path: Path) -> None:
    own = own_file(tmp_path / "mine")
    sums = link_files({"items": own}, card())
    assert sums == {"items": checksum(own)}
    assert assets.checksums(card(), None, sums) == sums
    path = fetch(assets.raw_file(card(), "items", sums["items"]), offline=True)
    assert path == own.resolve()


def test_a_named_file_comes_before_one_of_the_cards_name(tmp_path: Path) -> None:
    own = own_file(tmp_path / "mine")
    (tmp_path / "mine" / "x.inter").write_bytes(CONTENT)
    sha256 = link_files({"items": own}, card())["items"]
    assert fetch(assets.raw_file(card(), "items", sha256), tmp_path / "mine") == own.resolve()
    # The card's own file is what it was.
    assert fetch(raw_file(URL), tmp_path / "mine").name == "x.inter"


def test_a_named_file_of_the_lists_alone_is_found(tmp_path: Path) -> None:
    own, ml_1m = own_file(tmp_path / "mine"), plugins.dataset_card("ml-1m")
    file = assets.raw_file(ml_1m, "users", link_files({"users": own}, ml_1m)["users"])
    assert file.name == "users.dat"
    assert fetch(file, offline=True) == own.resolve()


def test_a_named_file_that_changed_is_not_taken_and_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_file(tmp_path / "mine")
    sha256 = link_files({"items": own}, card())["items"]
    own.write_bytes(b"changed")
    serve(monkeypatch, lambda url: CONTENT)
    message = refusal(assets.raw_file(card(), "items", sha256)).message
    assert sha256[:12] in message
    assert own.read_bytes() == b"changed"
    # The link is gone, so that a whole copy elsewhere is found.
    copy = tmp_path / "x.inter"
    copy.write_bytes(b"own")
    assert fetch(assets.raw_file(card(), "items", sha256), tmp_path) == copy
    assert link_files({"items": own}, card())["items"] == checksum(own)


def test_a_named_file_is_copied_where_links_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def no_links(path: Path, target: Path) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    own = own_file(tmp_path / "mine")
    sha256 = link_files({"items": own}, card())["items"]
    path = fetch(assets.raw_file(card(), "items", sha256), offline=True)
    assert path.read_bytes() == b"own"
    assert cache in path.parents
    assert files_below(cache) == ["x.inter"]


def test_notes_tell_other_versions_and_added_roles() -> None:
    (other, added) = describe_other_versions(card(), {"items": "a" * 64, "train": "b" * 64})
    assert "x.inter is another version than the card's" in other
    assert SUM[:12] in other
    assert "role 'train' was added" in added
    assert describe_other_versions(card(), {"items": SUM}) == []
    assert describe_other_versions(card(sha256=None), {"items": SUM}) == []


def test_named_files_are_parsed() -> None:
    assert parse_files(["items=a=b", "ml:train=c"], ["ml"]) == {
        "ml": {"items": Path("a=b"), "train": Path("c")}
    }
    assert parse_files(["b:items=x"], ["a", "b"]) == {"a": {}, "b": {"items": Path("x")}}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["items"], "is not ROLE=PATH"),
        (["items="], "is not ROLE=PATH"),
        (["=x"], "is not ROLE=PATH"),
        (["../x=y"], "is not ROLE=PATH"),
        (["items=x"], "which of the 2 data sets"),
        (["c:items=x"], "no data set of this command named 'c'"),
        (["a:items=x", "a:items=y"], "two files for items of a"),
    ],
)
def test_named_files_that_say_too_little_are_refused(texts: list[str], words: str) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        parse_files(texts, ["a", "b"])
    assert caught.value.hint


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is not a file"):
        link_files({"items": tmp_path}, card())


# --- fetched ------------------------------------------------------------------------------------


def test_a_fetched_file_is_kept(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    addresses = serve(monkeypatch, lambda url: CONTENT)
    first = fetch(raw_file(URL))
    assert first.read_bytes() == CONTENT
    assert fetch(raw_file(URL), offline=True) == first
    assert addresses == [URL.url]
    assert files_below(cache) == ["x.inter"]


def test_a_damaged_cached_file_is_moved_aside_and_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    serve(monkeypatch, lambda url: CONTENT)
    path = fetch(raw_file(URL))
    path.write_bytes(CONTENT[:-1])
    with pytest.warns(UserWarning, match="was damaged"):
        assert fetch(raw_file(URL)).read_bytes() == CONTENT
    assert files_below(cache) == ["x.inter", "x.inter.damaged"]


def test_offline_touches_no_network_and_names_all_that_is_needed() -> None:
    error = refusal(raw_file(WHEEL, URL), offline=True)
    for part in ("x.inter", "toy", "toydata==1.0", str(URL.url), "Research only", "--offline"):
        assert part in error.message
    assert "--data-dir" in error.hint


def test_a_file_without_sources_names_its_homepage() -> None:
    error = refusal(raw_file())
    assert "https://example.org" in error.message
    assert "--data-dir" in error.hint


def broken_off(url: str) -> bytes:
    raise ConnectionError("connection reset")


def unreachable(url: str) -> bytes:
    raise requests.ConnectionError("HTTPSConnectionPool(host='example.org'): Max retries exceeded")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda url: CONTENT[:500], "does not match the known hash"),
        (lambda url: b"", "does not match the known hash"),
        (broken_off, "connection reset"),
        (unreachable, "could not be fetched: example.org cannot be reached."),
    ],
)
def test_failed_downloads_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, cache: Path, answer: Callable[[str], bytes], reason: str
) -> None:
    serve(monkeypatch, answer)
    error = refusal(raw_file(URL))
    assert reason in error.message
    assert str(URL.url) in error.message
    assert files_below(cache) == []


def test_the_next_source_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Source(url="https://example.org/mirror/x.inter")
    addresses = serve(monkeypatch, lambda url: CONTENT if "mirror" in url else b"<html>")
    assert fetch(raw_file(URL, other)).read_bytes() == CONTENT
    assert addresses == [URL.url, other.url]


def test_an_empty_file_without_a_declared_sum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, lambda url: b"")
    assert "the file is empty" in refusal(raw_file(URL, sha256=None)).message


def test_one_file_comes_out_of_a_wheel(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve_wheel(monkeypatch, {"toydata/x.inter": CONTENT, "toydata/x.item": b"no"})
    assert fetch(raw_file(WHEEL)).read_bytes() == CONTENT
    assert files_below(cache) == ["x.inter"]


@pytest.mark.parametrize("path", ["../x.inter", "toydata/../../x.inter", "/etc/hosts", "..\\x"])
def test_a_path_that_leads_out_of_the_wheel_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path, path: str
) -> None:
    serve_wheel(monkeypatch, {path: CONTENT})
    error = refusal(raw_file(Source(wheel="toydata==1.0", path=path)))
    assert "leads out of the wheel" in error.message
    assert files_below(cache) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "the wheel has no toydata/x.inter"),
        ({"toydata/x.inter": CONTENT[:-5]}, f"not {SUM[:12]}"),
    ],
)
def test_a_wheel_with_other_content(
    monkeypatch: pytest.MonkeyPatch, cache: Path, members: dict[str, bytes], reason: str
) -> None:
    serve_wheel(monkeypatch, members)
    assert reason in refusal(raw_file(WHEEL)).message
    assert files_below(cache) == []


def test_a_damaged_wheel(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def download(requirement: str, folder: Path) -> None:
        (folder / "toydata-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 cut off")

    monkeypatch.setattr(sources, "download_wheel", download)
    assert "not a zip file" in refusal(raw_file(WHEEL)).message
    assert files_below(cache) == []


class TestPip:
    """The real pip, fed from a folder."""

    @pytest.fixture(autouse=True)
    def _pip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        build_wheel(tmp_path, {"toydata/x.inter": CONTENT})

    def test_fetches_the_wheel(self) -> None:
        assert fetch(raw_file(WHEEL)).read_bytes() == CONTENT

    def test_says_what_pip_said(self) -> None:
        error = refusal(raw_file(Source(wheel="toydata==2.0", path="toydata/x.inter")))
        assert "No matching distribution found for toydata==2.0" in error.message

    def test_does_not_wait_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(*args: Any, **kwargs: Any) -> None:
            raise subprocess.TimeoutExpired("pip", kwargs["timeout"])

        monkeypatch.setattr(subprocess, "run", run)
        assert "longer than" in refusal(raw_file(WHEEL)).message
