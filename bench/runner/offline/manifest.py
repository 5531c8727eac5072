"""What stands in a pack: every file with its size, checksum, parts and license, as checked JSON.

`manifest.json` is this schema, written last, so that a pack without one is incomplete. Beside it
lie the rooms: `assets/` and `hub/` as the asset cache and the hub's own cache hold them, `store/`
as the store does, and `wheels/` for pip.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bench.errors import BenchError

MANIFEST = "manifest.json"

Room = Literal["assets", "hub", "store", "wheels"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Record):
    """A file of the pack: a whole one, or a piece of it."""

    name: str = Field(description="Path inside the pack")
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        return inside(name)


class Packed(_Record):
    """One file as it will lie on the other machine."""

    room: Room
    place: str = Field(description="Path inside its room")
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parts: tuple[Part, ...] = Field(min_length=1)
    owner: str = Field(description="The card it belongs to, or the package")
    license: str
    redistribution: Literal["forbidden", "see license"] = "see license"

    @field_validator("place")
    @classmethod
    def _stays_inside(cls, place: str) -> str:
        return inside(place)


class Manifest(_Record):
    """A pack."""

    version: Literal[1] = 1
    packed_by: str = Field(description="This program's version")
    python: str = Field(description="That the wheels are for, if there are any")
    system: str
    asked: dict[str, str | list[str]] = Field(description="Options that said what to pack")
    files: tuple[Packed, ...]
    notes: tuple[str, ...] = Field((), description="What is needed, too, and is not in the pack")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def of(self, room: Room) -> list[Packed]:
        """Return the files of a room."""
        return [file for file in self.files if file.room == room]


def inside(place: str) -> str:
    """Refuse a path that leads out of the folder that it is taken in.

    Raises:
        ValueError: It does, or is empty.
    """
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts or "\\" in place or not path.parts:
        raise ValueError(f"{place!r} leads out of the folder")
    return place


def read_manifest(folder: Path) -> Manifest:
    """Read a pack's manifest.

    Raises:
        BenchError: There is none, or it is no manifest.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BenchError(
            f"{folder} holds no {MANIFEST}.", "It is no pack, or its transfer is not finished."
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        message = f"{path} is no manifest: {where}: {first['msg']}."
        raise BenchError(message, "Copy it again.") from error
