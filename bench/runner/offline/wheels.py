"""The wheels of this project and of all that it depends on, as pip finds or builds them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bench.errors import BenchError
from bench.runner.offline.manifest import Manifest

PROJECT = "llmrec-bench"
CONSTRAINTS = "constraints.txt"
LICENSE = "see the wheel's own metadata"
PIP_SECONDS = 3600


def collect(into: Path, constraints: Path | None) -> None:
    """Fill a folder with wheels for this Python and this kind of machine.

    Mirrors, proxies and local folders of wheels are pip's own configuration.

    Args:
        into: The folder.
        constraints: Versions, as `pip install -c` takes them; that of the checkout by default.

    Raises:
        BenchError: There are no constraints, or pip fails.
    """
    source = _source()
    chosen = constraints or Path(source) / CONSTRAINTS
    if not chosen.is_file():
        without = "This installation has no constraints."
        raise BenchError(
            f"{constraints} is no file." if constraints else without,
            "Name a file of versions with --constraints (pip freeze writes one).",
        )
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command += ["--no-input", "--wheel-dir", str(into), "--constraint", str(chosen), "--", source]
    try:
        subprocess.run(  # noqa: S603  a list without a shell
            command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"pip took longer than {PIP_SECONDS} s.", "Try again.") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()]
        wrong = [line for line in said if line.startswith("ERROR")] or said or ["it failed"]
        raise BenchError(
            f"pip could not collect the wheels: {wrong[-1].removeprefix('ERROR: ').rstrip('.')}.",
            "Mend pip's configuration, or pack without --wheels.",
        ) from error


def _source() -> str:
    """Return what pip builds this project from: where it was installed from, else its name."""
    installed = metadata.distribution(PROJECT)
    told = installed.read_text("direct_url.json")
    place = urlsplit(json.loads(told)["url"]) if told else None
    if place is not None and place.scheme == "file":
        return url2pathname(place.path)
    return f"{PROJECT}=={installed.version}"


def wheel_commands(manifest: Manifest, folder: str = "wheels") -> list[str]:
    """Say, as lines of a shell, how a pack's wheels are joined and installed.

    They need nothing but a shell and pip: this program may not be installed there yet.
    """
    files = manifest.of("wheels")
    if not files:
        return []
    joined = f'for f in {folder}/*.part-0001; do cat "${{f%-0001}}"-* > "${{f%.part-0001}}"; done'
    install = f"python -m pip install --no-index --find-links {folder} {PROJECT}"
    cut = any(len(file.parts) > 1 for file in files)
    return [joined, install] if cut else [install]
