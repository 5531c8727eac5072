"""Downloads: a file from an https address, a wheel from PyPI, one member out of an archive."""

from __future__ import annotations

import lzma
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

CHUNK_BYTES = 1 << 20
ENCRYPTED_FLAG = 0x1
PIP_TIMEOUT_SECONDS = 900


class SourceError(Exception):
    """A source did not give the file; the message is a clause without a full stop."""


def download(url: str, name: str, sha256: str | None, folder: Path) -> Path:
    """Download an address into a folder, under a name, and return the file's path.

    Raises:
        SourceError: The host cannot be reached, or redirects away from https.
        ValueError: The content has another checksum.
        OSError: There was no answer.
    """
    import pooch  # a seventh of a second that only a download should cost
    from requests import exceptions  # the library that pooch uses

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.core.choose_downloader(url, progressbar=sys.stderr.isatty())
    if isinstance(downloader, pooch.HTTPDownloader):
        downloader.kwargs["hooks"] = {"response": require_https}
    known_hash = f"sha256:{sha256}" if sha256 else None
    try:
        return Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader))
    except exceptions.SSLError:
        raise  # problems with certificates must be shown in full
    except exceptions.ConnectionError as error:
        raise SourceError(f"{urlsplit(url).hostname} cannot be reached") from error


def require_https(response: Any, **_options: Any) -> None:
    """Check every response before its redirection is followed."""
    target = urljoin(response.url, response.headers.get("location", ""))
    if not target.startswith("https://"):
        raise SourceError(f"it redirects away from https, to {target}")


def download_wheel(requirement: str, folder: Path) -> None:
    """Download a wheel with pip; the card's schema bounds the requirement."""
    options = ("--no-deps", "--only-binary=:all:", "--dest", str(folder), "--", requirement)
    run_pip("download", *options, seconds=PIP_TIMEOUT_SECONDS)


def run_pip(command: str, *options: str, seconds: float) -> None:
    """Run a pip command, so that mirrors, proxies and credentials are the user's own.

    Raises:
        SourceError: It fails, with pip's own reason, or takes too long.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", command)
    try:
        subprocess.run(  # noqa: S603  a list without a shell
            [*pip, "--quiet", "--no-input", *options],
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"pip took longer than {seconds} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it failed"]
        raise SourceError(f"pip: {errors[-1].removeprefix('ERROR: ').rstrip('.')}") from error


def extract(
    archive: Path, member: str, target: Path, what: str, *, size: int | None = None
) -> None:
    """Extract one member of a zip archive to `target`, which is overwritten.

    The member's own name and permissions are not used, zip's checksum of its content is tested, and
    no more is written than the archive's directory announces. Messages call the archive `what`.

    Raises:
        SourceError: The path leads out of the archive, or the archive is damaged or has no such
            member; or the member is a link, folder or encrypted, has not `size` bytes, or does not
            fit on the disk.
    """
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member:
        raise SourceError(f"{member!r} leads out of the {what}")
    try:
        with zipfile.ZipFile(archive) as opened:
            info = _find_member(opened, member, what)
            actual = f"{member} in the {what} has {info.file_size:,} bytes"
            if size is not None and info.file_size != size:
                raise SourceError(f"{actual}, not {size:,}")
            if info.file_size > shutil.disk_usage(target.parent).free:
                raise SourceError(f"{actual}, too many for the disk")
            with opened.open(info) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)
    except zipfile.BadZipFile as error:
        raise SourceError(f"the {what} is damaged: {str(error).rstrip('.')}") from error
    except (EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{member} in the {what} cannot be unpacked: {error}") from error


def _find_member(archive: zipfile.ZipFile, member: str, what: str) -> zipfile.ZipInfo:
    infos = [info for info in archive.infolist() if info.filename == member]
    if len(infos) != 1:
        times = f" {len(infos)} times" if infos else ""
        raise SourceError(f"the {what} has {'' if infos else 'no '}{member}{times}")
    kind = stat.S_IFMT(infos[0].external_attr >> 16)
    is_file = not infos[0].is_dir() and kind in (0, stat.S_IFREG)
    if not is_file or infos[0].flag_bits & ENCRYPTED_FLAG:
        raise SourceError(f"{member} in the {what} is not a plain file")
    return infos[0]
