"""Writes a bundle under a temporary name and renames it when complete; collects wheels for it."""

from __future__ import annotations

import json
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bench.data.sources import SourceError, run_pip
from bench.errors import BenchError
from bench.files import write_atomic
from bench.hashing import checksum
from bench.runner.offline.manifest import MANIFEST, BundledFile, Manifest, Section
from bench.runner.offline.needs import Asset

README = "README.txt"
PROJECT = "llmrec-bench"
CONSTRAINTS = "constraints.txt"
PIP_SECONDS = 3600


class BundleWriter:
    """Copies files into a bundle and lists them in its manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[BundledFile] = []

    def add_asset(self, asset: Asset, files: Mapping[str, Path]) -> int:
        """Copy an asset's files, given by their path in the cache; return their bytes."""
        section: Section = "assets" if asset.file else "hub"
        owner = f"{asset.kind} {asset.owner}"
        return self.add_files(section, files, owner=owner, license_note=asset.license)

    def add_files(
        self, section: Section, files: Mapping[str, Path], *, owner: str, license_note: str
    ) -> int:
        """Copy files, given by their path in the section; return their bytes."""
        size = 0
        forbidden = "no redistribution" in license_note.lower()
        for path, source in files.items():
            target = self.folder / section / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            file = BundledFile(
                section=section,
                path=path,
                size=target.stat().st_size,
                sha256=checksum(target),
                owner=owner,
                license=license_note,
                redistribution="forbidden" if forbidden else "see license",
            )
            self._files.append(file)
            size += file.size
        return size

    def finish(self, options: Mapping[str, str | list[str]], notes: Sequence[str]) -> Manifest:
        """Write the manifest and a README with the commands that unpack the bundle."""
        manifest = Manifest(
            created_by=f"llmrec-bench {metadata.version(PROJECT)}",
            python=".".join(platform.python_version_tuple()[:2]),
            system=f"{platform.system()} {platform.machine()}",
            options=dict(options),
            files=tuple(self._files),
            notes=tuple(notes),
        )
        install = [get_install_command("wheels")] if manifest.select("wheels") else []
        lines = [
            f"An offline bundle of {manifest.created_by}: {len(manifest.files)} files, "
            f"{manifest.size:,} bytes.",
            f"Sizes, checksums and licenses are in {MANIFEST}. Run in this folder:",
            "",
            *(f"    {command}" for command in (*install, "bench assets unpack .")),
            "",
            *manifest.notes,
        ]
        (self.folder / README).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
        write_atomic(self.folder / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
        return manifest


@contextmanager
def write_bundle(into: Path) -> Iterator[BundleWriter]:
    """Yield a writer; the bundle gets its name if nothing is raised.

    Raises:
        BenchError: The folder exists and is not empty.
    """
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise BenchError(f"{into} is not empty.", "Name a new folder with --into.")
    into.parent.mkdir(parents=True, exist_ok=True)
    building = into.with_name(f".{into.name}.partial-{secrets.token_hex(4)}")
    building.mkdir()
    try:
        yield BundleWriter(building)
        building.rename(into)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def build_wheels(into: Path, constraints: Path | None) -> None:
    """Fill a folder with wheels for this Python version and platform.

    Mirrors, proxies and local folders of wheels are configured in pip. The constraints file is the
    checkout's by default.

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
