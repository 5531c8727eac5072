"""The manifest of a bundle: every file with its size, checksum, owner and license.

`manifest.json` is written last, so that a folder without one is incomplete. Next to it are the
sections: `assets/`, `hub/` and `store/`, laid out as the asset cache, the hub's cache and the
store, and `wheels/` for pip.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from bench.config.toml import Card
from bench.errors import BenchError

MANIFEST = "manifest.json"

Section = Literal["assets", "hub", "store", "wheels"]


class BundledFile(Card):
    """One file of a bundle."""

    section: Section
    path: str = Field(description="Path inside the section")
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    owner: str = Field(description="The card that it belongs to, or the package")
    license: str
    redistribution: Literal["forbidden", "see license"] = "see license"

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path or not parts.parts:
            raise ValueError(f"{path!r} leads out of the folder")
        return path

    @property
    def name(self) -> str:
        """Path inside the bundle."""
        return f"{self.section}/{self.path}"


class Manifest(Card):
    """All files of a bundle."""

    version: Literal[2] = 2
    created_by: str = Field(description="This program's version")
    python: str = Field(description="Version that the wheels are for, if there are any")
    system: str
    options: dict[str, str | list[str]] = Field(description="Options that selected the run")
    files: tuple[BundledFile, ...]
    notes: tuple[str, ...] = Field((), description="What the run needs and the bundle lacks")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def select(self, *sections: Section) -> list[BundledFile]:
        """Return the files of some sections."""
        return [file for file in self.files if file.section in sections]


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        BenchError: There is none, or it is invalid.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BenchError(
            f"{folder} has no {MANIFEST}.", "It is not a bundle, or was not copied completely."
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        message = f"{path} is not a valid manifest: {where}: {first['msg']}."
        raise BenchError(message, "Copy or pack it again.") from error
