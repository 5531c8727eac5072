"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of `bench doctor`.

    Attributes:
        name: What was looked at.
        state: "fail" where a run cannot work, "warn" where it may not, or not as meant.
        said: What was seen.
        hint: What to do about it; nothing where all is well.
    """

    name: str
    state: State = "ok"
    said: str
    hint: str = ""
