"""One address to one file: over TLS to the last redirection, its checksum tested where known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit


class DownloadError(Exception):
    """An address that does not give the file; the message is a clause without a full stop."""


def download(url: str, name: str, sha256: str | None, folder: Path) -> Path:
    """Fetch an address into a folder, under a name, and return the file's path.

    Raises:
        DownloadError: The host cannot be reached, or leads away from https.
        ValueError: What came has another checksum.
        OSError: Nothing came.
    """
    import pooch  # a seventh of a second that only a download should cost
    from requests import exceptions  # pooch's own way to the network

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.core.choose_downloader(url, progressbar=sys.stderr.isatty())
    if isinstance(downloader, pooch.HTTPDownloader):
        downloader.kwargs["hooks"] = {"response": _stay_on_tls}
    known = f"sha256:{sha256}" if sha256 else None
    try:
        return Path(pooch.retrieve(url, known, fname=name, path=folder, downloader=downloader))
    except exceptions.SSLError:
        raise  # what is wrong with a certificate must be read in full
    except exceptions.ConnectionError as error:
        raise DownloadError(f"{urlsplit(url).hostname} cannot be reached") from error


def _stay_on_tls(response: Any, **_options: Any) -> None:
    """Look at every answer before its redirection is followed."""
    there = urljoin(response.url, response.headers.get("location", ""))
    if not there.startswith("https://"):
        raise DownloadError(f"it leads away from https, to {there}")
