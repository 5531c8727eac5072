"""The options of a reader, and the files that it takes by the role that a card gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.config.toml import Card
from bench.errors import BenchError, unknown


class ReaderFields(Card):
    """A card's `[fields]` for one reader; they also decide which files the reader takes."""

    @property
    def required_roles(self) -> tuple[str, ...]:
        """Roles of the files that the card must name."""
        return ("interactions", "items")

    @property
    def optional_roles(self) -> tuple[str, ...]:
        """Roles of the files that the card may name."""
        return ()


def check_roles(
    paths: Mapping[str, Path], reader: str, required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a card that names too few files for its reader, or one that would not be read.

    Raises:
        BenchError: For the first role that is missing or unknown.
    """
    for role in required:
        if role not in paths:
            raise BenchError(
                f"The {reader} reader needs a file in the role {role!r}.",
                f"Add [files.{role}] to the card.",
            )
    allowed = (*required, *optional)
    for role in paths:
        if role not in allowed:
            raise BenchError(
                f"The {reader} reader takes no file in the role {role!r}.",
                unknown("role", role, allowed).hint if allowed else "Remove [files] from the card.",
            )
