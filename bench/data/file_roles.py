"""The files that a reader takes, by the roles that a card gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError, unknown


def require(
    paths: Mapping[str, Path], reader: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    """Refuse a card that names too few files for its reader, or one that nobody would read.

    Raises:
        BenchError: For the first role that is missing or unknown.
    """
    for role in needed:
        if role not in paths:
            raise BenchError(
                f"The {reader} reader needs a file in the role {role!r}.",
                f"Add [files.{role}] to the card.",
            )
    for role in paths:
        if role not in (*needed, *optional):
            hint = unknown("role", role, (*needed, *optional)).hint
            raise BenchError(f"The {reader} reader takes no file in the role {role!r}.", hint)
