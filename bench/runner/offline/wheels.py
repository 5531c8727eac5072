"""Wheels of this project and its dependencies, as pip finds or builds them."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bench.data.sources import SourceError, run_pip
from bench.errors import BenchError

PROJECT = "llmrec-bench"
CONSTRAINTS = "constraints.txt"
PIP_SECONDS = 3600


def build_wheels(into: Path, constraints: Path | None) -> None:
    """Fill a folder with wheels for this Python version and platform.

    Mirrors, proxies and local folders of wheels are configured in pip.

    Args:
        into: The folder.
        constraints: A file for `pip install -c`; the checkout's by default.

    Raises:
        BenchError: There are no constraints, or pip fails.
    """
    source = _find_source()
    path = constraints or Path(source) / CONSTRAINTS
    if not path.is_file():
        raise BenchError(
            f"The constraints file {path} does not exist.",
            "Name one with --constraints (pip freeze writes one).",
        )
    options = ("--wheel-dir", str(into), "--constraint", str(path), "--", source)
    try:
        run_pip("wheel", *options, seconds=PIP_SECONDS)
    except SourceError as error:
        message = f"The wheels could not be collected: {error}."
        raise BenchError(message, "Fix pip's configuration, or pack without --wheels.") from error


def _find_source() -> str:
    """Return what pip builds this project from: its checkout, else its name and version."""
    installed = metadata.distribution(PROJECT)
    direct_url = installed.read_text("direct_url.json")
    url = urlsplit(json.loads(direct_url)["url"]) if direct_url else None
    if url is not None and url.scheme == "file":
        return url2pathname(url.path)
    return f"{PROJECT}=={installed.version}"


def get_install_command(folder: str) -> str:
    """Return the shell command that installs this project from a folder of wheels."""
    return f"python -m pip install --no-index --find-links {folder} {PROJECT}"
