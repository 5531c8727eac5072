"""Raw files: found at hand or fetched once, checksummed, kept in the user's cache folder.

A file in `--data-dir` comes first, then the cache, then an archive at hand that holds it, then the
card's sources in order. A file appears under its name only when it is whole and checked; nothing
that is the user's own is ever changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import platformdirs

from bench.config.cards import DatasetCard, RawFile, Source
from bench.data.archives import ArchiveError, extract
from bench.data.download import DownloadError, download
from bench.errors import BenchError
from bench.hashing import checksum, digest

PIP_SECONDS = 900
SHOWN = 12


def cache_folder() -> Path:
    """Return the folder for fetched files: $BENCH_CACHE, else the user's cache folder."""
    chosen = os.environ.get("BENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("llmrec-bench"))


def checksums(
    card: DatasetCard, data_dir: Path | None, chosen: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return the sha256 of each raw file by role, for keys; the network is not touched.

    Args:
        card: The data set's card.
        data_dir: The user's own folder.
        chosen: Those of files that the user named for a role (`bench.data.user_files`).

    Returns:
        The chosen one, else the declared one, else that of the file at hand, else None.
    """
    found: dict[str, str | None] = {}
    for role, file in card.files.items():
        if chosen and role in chosen:
            continue
        path = None if file.sha256 else local_file(file, data_dir)
        found[role] = checksum(path) if path else file.sha256
    return {**found, **(chosen or {})}


def local_file(file: RawFile, data_dir: Path | None) -> Path | None:
    """Find a file without the network: in `data_dir`, its subfolders, then in the cache.

    A link in the cache comes first: the user named that file for its role. Of several files of a
    name, as with MovieLens' releases side by side, the one with the declared checksum is meant.
    Where there is none, NAME.gz stands in for it, as every reader takes gzip; a declared checksum
    must then be that of the packed file.

    Raises:
        BenchError: Where `data_dir` is no folder, or several files fit and no checksum decides.
    """
    cached = cached_place(file)
    if file.sha256 and cached.is_symlink() and cached.is_file():
        return cached.resolve()
    own = _own_files(file.name, data_dir) or _own_packed(file, data_dir)
    if len(own) > 1 and file.sha256 is None:
        raise BenchError(
            f"There are several files {file.name}: {own[0]} and {own[1]}.",
            "Point --data-dir at the folder of the one that is meant.",
        )
    fitting = [path for path in own if checksum(path) == file.sha256] if len(own) > 1 else own
    if own:
        return (fitting or own)[0]
    return cached if cached.is_file() else None


def _own_files(name: str, data_dir: Path | None) -> list[Path]:
    if data_dir is None:
        return []
    if not data_dir.is_dir():
        raise BenchError(f"--data-dir {data_dir} is no folder.", "Check its spelling.")
    places = [data_dir, *sorted(entry for entry in data_dir.iterdir() if entry.is_dir())]
    return [place / name for place in places if (place / name).is_file()]


def _own_packed(file: RawFile, data_dir: Path | None) -> list[Path]:
    packed = _own_files(f"{file.name}.gz", data_dir)
    return [path for path in packed if file.sha256 in (None, checksum(path))]


def cached_place(file: RawFile) -> Path:
    """Name a file's place in the cache; too many sets have a `ratings.dat` for a bare name.

    A file lies there, or a link to one of the user's own under the checksum that it had.
    """
    sources = [source.model_dump(mode="json") for source in file.sources]
    return cache_folder() / (file.sha256 or digest(sources))[:16] / file.name


def fetch(
    file: RawFile,
    *,
    data_dir: Path | None,
    offline: bool,
    card_name: str,
    license: str,
    homepage: str | None,
) -> Path:
    """Return a checked raw file, fetching it if it is not at hand.

    Args:
        file: What the card says about it; without a checksum any content is accepted.
        data_dir: The user's own folder, searched first.
        offline: Whether the network must not be touched.
        card_name: Name of the data set, for messages.
        license: Its license note, for messages.
        homepage: Where a person would look for it, for messages.

    Raises:
        BenchError: The file at hand is another one, or no source gave the right one.
    """
    path = _checked_local(file, data_dir)
    if path is not None:
        return path
    places = ", ".join(_place(source) for source in file.sources) or homepage or "no known address"
    hint = f"Fetch it by hand from {homepage or places} and name its folder with --data-dir."
    about = f"{file.name} of {card_name} ({places}; license: {license.rstrip('.')})"
    at_hand = [source for source in file.sources if _archive_at_hand(source, data_dir)]
    if offline and not at_hand:
        raise BenchError(f"{about} is not at hand, and --offline forbids to fetch it.", hint)
    if not file.sources:
        raise BenchError(f"{about} is not at hand and cannot be fetched by a program.", hint)
    reasons: list[tuple[str, str]] = []
    for source in at_hand if offline else dict.fromkeys((*at_hand, *file.sources)):
        try:
            return _fetch_from(source, file, data_dir)
        except (_SourceError, ArchiveError, DownloadError, OSError, ValueError) as error:
            reasons.append((_place(source), _first_line(error)))
    told = [f"{place}: {why}" for place, why in reasons] if len(reasons) > 1 else [reasons[0][1]]
    raise BenchError(f"{about} could not be fetched: {'; '.join(told)}.", hint)


class _SourceError(Exception):
    """One source did not give the file; the next may."""


def _place(source: Source) -> str:
    whole = source.url or source.wheel or ""
    return f"{source.path} in {whole}" if source.path else whole


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _checked_local(file: RawFile, data_dir: Path | None) -> Path | None:
    path = local_file(file, data_dir)
    if path is None or file.sha256 is None:
        return path
    actual = checksum(path)
    if actual == file.sha256:
        return path
    cached = cached_place(file)
    if cached.is_symlink():
        # What it leads to was changed since; the link is ours, the file is not.
        cached.unlink()
        return _checked_local(file, data_dir)
    if path != cached:
        raise BenchError(
            f"{path} has the sha256 {actual[:SHOWN]}…, but the card asks for "
            f"{file.sha256[:SHOWN]}….",
            "It is another version or damaged: replace it, or leave --data-dir out.",
        )
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    warnings.warn(f"{path} was damaged; it is now {aside.name} and is fetched anew.", stacklevel=3)
    return None


def _fetch_from(source: Source, file: RawFile, data_dir: Path | None) -> Path:
    """Fetch into a temporary folder inside the cache, check, and only then give it its name."""
    target = cached_place(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as folder:
        if source.wheel:
            partial = _from_wheel(source, file.size, Path(folder))
        elif source.path:
            partial = _from_archive(source, file.size, data_dir, Path(folder))
        else:
            assert source.url is not None
            partial = download(source.url, file.name, file.sha256, Path(folder))
        if file.sha256 is not None and (actual := checksum(partial)) != file.sha256:
            raise _SourceError(
                f"its sha256 is {actual[:SHOWN]}…, not {file.sha256[:SHOWN]}… as the card says"
            )
        if not partial.stat().st_size:
            raise _SourceError("what came was empty")
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    return target


def _archive_name(source: Source) -> str:
    return PurePosixPath(urlsplit(source.url or "").path).name


def _cached_archive(source: Source) -> Path:
    return cache_folder() / digest([source.url])[:16] / _archive_name(source)


def _archive_at_hand(source: Source, data_dir: Path | None) -> Path | None:
    """Find a source's zip archive without the network: the user's own, else a fetched one."""
    if not (source.url and source.path and _archive_name(source)):
        return None
    cached = _cached_archive(source)
    own = _own_files(_archive_name(source), data_dir)
    return own[0] if own else cached if cached.is_file() else None


def _from_archive(source: Source, size: int | None, data_dir: Path | None, folder: Path) -> Path:
    """Take a member out of an archive, which stays in the cache for its other members."""
    assert source.path is not None
    cached = _cached_archive(source)
    archive = _archive_at_hand(source, data_dir)
    if archive is None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        assert source.url is not None
        download(source.url, "archive", None, folder).replace(cached)
        archive = cached
    partial = folder / "partial"
    try:
        extract(archive, source.path, partial, "archive", size=size)
    except ArchiveError:
        # Half an archive, or a login page in its place, must not stand in the way for ever.
        if archive == cached:
            archive.unlink(missing_ok=True)
        raise
    return partial


def _from_wheel(source: Source, size: int | None, folder: Path) -> Path:
    assert source.wheel is not None
    assert source.path is not None
    _download_wheel(source.wheel, folder)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _SourceError(f"pip left {len(wheels)} wheels, not one")
    partial = folder / "partial"
    extract(wheels[0], source.path, partial, "wheel", size=size)
    return partial


def _download_wheel(requirement: str, folder: Path) -> None:
    """Let pip find the wheel, so that mirrors, proxies and credentials are the user's own."""
    options = ("--no-deps", "--only-binary=:all:", "--quiet", "--no-input")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options]
    try:
        subprocess.run(  # noqa: S603  a list without a shell; the card's schema bounds the name
            [*command, "--dest", str(folder), "--", requirement],
            check=True,
            capture_output=True,
            text=True,
            timeout=PIP_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _SourceError(f"pip took longer than {PIP_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()]
        wrong = [line for line in said if line.startswith("ERROR")] or said or ["it failed"]
        raise _SourceError(f"pip: {wrong[-1].removeprefix('ERROR: ')}") from error
