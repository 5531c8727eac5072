"""Files inside zip archives: fetched once, kept for their neighbors, and nothing hostile."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pooch
import pytest

from bench.config.cards import RawFile, Source
from bench.data import assets
from bench.data.sources import SourceError, extract
from bench.errors import BenchError

RATINGS, MOVIES = b"1::2::3::4\n" * 500, b"2::Heat (1995)::Crime\n"
URL = "https://example.org/data/ml.zip"
LICENSE = "Research only."


def packed(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"ml/{name}.dat", content)
    return buffer.getvalue()


ARCHIVE = packed(ratings=RATINGS, movies=MOVIES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    serve(monkeypatch, lambda url: pytest.fail("the network was touched"))
    return tmp_path / "cache"


def serve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], bytes]) -> list[str]:
    """Let pooch download from a function; returns the addresses asked for."""
    addresses: list[str] = []

    def download(url: str, output: Any, _pooch: object) -> None:
        addresses.append(url)
        Path(output).write_bytes(answer(url))

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar: download)
    return addresses


def member(name: str, *, sha256: str | None = None, path: str = "") -> RawFile:
    source = Source(url=URL, path=path or f"ml/{name}")
    return RawFile(name=name, sha256=sha256, sources=(source,))


def fetch(file: RawFile, data_dir: Path | None = None, *, offline: bool = False) -> Path:
    card = SimpleNamespace(license=LICENSE, homepage="https://example.org")
    return assets.fetch(file, card, "toy", data_dir=data_dir, offline=offline)


def refusal(file: RawFile, data_dir: Path | None = None, *, offline: bool = False) -> str:
    with pytest.raises(BenchError) as caught:
        fetch(file, data_dir, offline=offline)
    assert "--data-dir" in caught.value.hint
    return caught.value.message


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_archive_is_fetched_once_for_all_its_files(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    addresses = serve(monkeypatch, lambda url: ARCHIVE)
    assert fetch(member("ratings.dat")).read_bytes() == RATINGS
    checked = member("movies.dat", sha256=hashlib.sha256(MOVIES).hexdigest())
    assert fetch(checked, offline=True).read_bytes() == MOVIES
    assert addresses == [URL]
    assert files_below(cache) == ["ml.zip", "movies.dat", "ratings.dat"]


@pytest.mark.parametrize("place", [".", "ml-1m"])
def test_the_users_own_archive_is_read_and_left_alone(tmp_path: Path, place: str) -> None:
    own = tmp_path / "own"
    (own / place).mkdir(parents=True)
    (own / place / "ml.zip").write_bytes(ARCHIVE)
    assert fetch(member("movies.dat"), own, offline=True).read_bytes() == MOVIES
    assert files_below(own) == ["ml.zip"]
    (own / place / "ml.zip").write_bytes(ARCHIVE[:-30])
    assert "the archive is damaged" in refusal(member("ratings.dat"), own, offline=True)
    assert files_below(own) == ["ml.zip"]


def test_an_unpacked_file_of_the_users_comes_first(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes(b"own")
    (tmp_path / "ml.zip").write_bytes(ARCHIVE)
    assert fetch(member("movies.dat"), tmp_path).read_bytes() == b"own"


def test_offline_names_the_file_its_archive_and_the_license() -> None:
    message = refusal(member("ratings.dat"), offline=True)
    assert f"ratings.dat of toy (ml/ratings.dat in {URL}; license: Research only)" in message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the archive is damaged: File is not a zip file"),
        (b"<!DOCTYPE html><title>Sign in</title>", "the archive is damaged"),
        (ARCHIVE[:-30], "the archive is damaged"),
        (packed(movies=MOVIES), "the archive has no ml/ratings.dat"),
        (packed(ratings=b""), "the file is empty"),
    ],
)
def test_an_archive_that_does_not_have_the_file_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, cache: Path, answer: bytes, reason: str
) -> None:
    serve(monkeypatch, lambda url: answer)
    assert reason in refusal(member("ratings.dat"))
    assert [name for name in files_below(cache) if name != "ml.zip"] == []
    serve(monkeypatch, lambda url: ARCHIVE)
    if reason != "the file is empty":
        assert fetch(member("ratings.dat")).read_bytes() == RATINGS


def test_content_is_checked(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve(monkeypatch, lambda url: ARCHIVE)
    assert "as the card says" in refusal(member("ratings.dat", sha256="0" * 64))
    assert "ratings.dat" not in files_below(cache)


def test_content_that_was_changed_inside_is_told_by_its_checksum(tmp_path: Path) -> None:
    whole = bytearray()
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("x.dat", RATINGS)
        whole += buffer.getvalue()
    whole[100] ^= 1
    (tmp_path / "x.zip").write_bytes(whole)
    with pytest.raises(SourceError, match="the archive is damaged: Bad CRC-32"):
        extract(tmp_path / "x.zip", "x.dat", tmp_path / "out", "archive")


@pytest.mark.parametrize("path", ["../x.dat", "ml/../../x.dat", "/etc/hosts", "..\\x.dat"])
def test_a_path_that_leads_out_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    serve(monkeypatch, lambda url: ARCHIVE)
    assert "leads out of the archive" in refusal(member("x.dat", path=path))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_links_folders_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("ml/x.dat")
    info.external_attr = (kind | 0o644) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match=r"ml/x\.dat in the archive is not a plain file"):
        extract(tmp_path / "x.zip", "ml/x.dat", tmp_path / "out", "archive")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.dat", b"one")
        archive.writestr("x.dat", b"two")
    with pytest.raises(SourceError, match="2 times"):
        extract(tmp_path / "x.zip", "x.dat", tmp_path / "out", "archive")


@pytest.mark.parametrize("place", [6, 8])
def test_encrypted_and_unknown_methods_are_refused(tmp_path: Path, place: int) -> None:
    """Byte 6 of a local header holds the flags, byte 8 the method; the directory's lie 2 later."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.dat", b"one")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    for start, offset in ((0, place), (content.index(b"PK\x01\x02"), place + 2)):
        content[start + offset] |= 0x61 if place == 8 else 0x01
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"not a plain file|cannot be unpacked"):
        extract(tmp_path / "x.zip", "x.dat", tmp_path / "out", "archive")


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"path": "x.dat"},
        {"wheel": "toy==1.0"},
        {"url": "https://example.org/x", "wheel": "toy==1.0", "path": "x.dat"},
        {"url": "http://example.org/x.zip", "path": "x.dat"},
        {"url": "https://example.org/x.zip", "path": ""},
    ],
)
def test_a_source_is_one_place(source: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Source(**source)
