"""Writes a pack: files are copied, cut into parts where asked, and counted in the manifest.

It is built beside its place and moved there when it is whole.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from bench.errors import BenchError
from bench.files import write_whole
from bench.runner.offline.manifest import MANIFEST, Manifest, Packed, Part, Room
from bench.runner.offline.needs import Asset, forbids_passing_on
from bench.runner.offline.wheels import LICENSE, wheel_commands

CHUNK = 1 << 20
MOST_PARTS = 9999  # their numbers have four digits, so that a shell sorts them
README = "README.txt"


class Packing:
    """A pack that is being filled.

    Args:
        folder: Where.
        part_size: Most bytes of a file in the pack; None for no limit.
    """

    def __init__(self, folder: Path, part_size: int | None) -> None:
        self.folder = folder
        self._part_size = part_size
        self._files: list[Packed] = []

    def add_asset(self, asset: Asset, files: Mapping[str, Path]) -> int:
        """Copy an asset's files, given by their place in its cache; returns their bytes."""
        room: Room = "assets" if asset.file else "hub"
        owner = f"{asset.kind} {asset.owner}"
        return sum(
            self._add(path, room, place, owner=owner, license=asset.license)
            for place, path in files.items()
        )

    def add_artifact(self, folder: Path, kind: str, key: str, *, card: str, license: str) -> int:
        """Copy an artifact of the store; returns its bytes."""
        return sum(
            self._add(
                path,
                "store",
                f"{kind}/{key}/{path.relative_to(folder).as_posix()}",
                owner=f"data {card}",
                license=license,
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        )

    def add_wheels(self, folder: Path) -> int:
        """Take in wheels; returns their bytes."""
        return sum(
            self._add(path, "wheels", path.name, owner=path.name.split("-")[0], license=LICENSE)
            for path in sorted(folder.glob("*.whl"))
        )

    def _add(self, source: Path, room: Room, place: str, *, owner: str, license: str) -> int:
        target = self.folder / room / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            sha256, parts = self._cut(file, target, source.stat().st_size)
        self._files.append(
            Packed(
                room=room,
                place=place,
                size=sum(part.size for part in parts),
                sha256=sha256,
                parts=tuple(parts),
                owner=owner,
                license=license,
                redistribution="forbidden" if forbids_passing_on(license) else "see license",
            )
        )
        return self._files[-1].size

    def _cut(self, file: BinaryIO, target: Path, size: int) -> tuple[str, list[Part]]:
        limit = self._part_size or max(size, 1)
        num = max(-(-size // limit), 1)
        if num > MOST_PARTS:
            raise BenchError(f"{target.name} would be {num} parts.", "Choose a larger --part-size.")
        whole = hashlib.sha256()
        parts = []
        for number in range(1, num + 1):
            path = target if num == 1 else target.with_name(f"{target.name}.part-{number:04}")
            piece = hashlib.sha256()
            written = 0
            with path.open("wb") as out:
                while chunk := file.read(min(CHUNK, limit - written)):
                    out.write(chunk)
                    written += len(chunk)
                    piece.update(chunk)
                    whole.update(chunk)
            name = path.relative_to(self.folder).as_posix()
            parts.append(Part(name=name, size=written, sha256=piece.hexdigest()))
        return whole.hexdigest(), parts

    def finish(self, asked: Mapping[str, str | list[str]], notes: Sequence[str]) -> Manifest:
        """Write the manifest, and for people how to unpack."""
        manifest = Manifest(
            packed_by=f"llmrec-bench {metadata.version('llmrec-bench')}",
            python=".".join(platform.python_version_tuple()[:2]),
            system=f"{platform.system()} {platform.machine()}",
            asked=dict(asked),
            files=tuple(self._files),
            notes=tuple(notes),
        )
        (self.folder / README).write_text(_readme(manifest), encoding="utf-8")
        write_whole(self.folder / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
        return manifest


@contextmanager
def packing(into: Path, part_size: int | None) -> Iterator[Packing]:
    """Yield a pack to fill, and move it to its place where nothing was raised.

    Raises:
        BenchError: There is something already.
    """
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise BenchError(f"{into} is not empty.", "Name a new folder with --into.")
    into.parent.mkdir(parents=True, exist_ok=True)
    building = into.with_name(f".{into.name}.partial-{secrets.token_hex(4)}")
    building.mkdir()
    try:
        yield Packing(building, part_size)
        building.rename(into)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _readme(manifest: Manifest) -> str:
    lines = [
        f"A pack of {manifest.packed_by}: {len(manifest.files)} files, {manifest.size:,} bytes.",
        "Sizes, checksums and licenses stand in manifest.json. In this folder:",
        "",
        *(f"    {line}" for line in (*wheel_commands(manifest), "bench assets unpack .")),
        "",
        *manifest.notes,
    ]
    return "\n".join(lines).rstrip() + "\n"
