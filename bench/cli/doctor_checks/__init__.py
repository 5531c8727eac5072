"""Checks of `bench doctor`; each returns one or more findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "fail"]
MAX_NAMES = 6


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of `bench doctor`.

    Attributes:
        name: What was checked.
        state: "fail" if a run cannot work, "warn" if it may not, or not as intended.
        message: What was observed.
        hint: What to do about it; empty for "ok".
    """

    name: str
    state: State = "ok"
    message: str
    hint: str = ""


def join_names(names: Sequence[str]) -> str:
    """Join names, the first `MAX_NAMES` of them."""
    return ", ".join([*names[:MAX_NAMES], *("…" for _ in names[MAX_NAMES : MAX_NAMES + 1])])
