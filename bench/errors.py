"""The one exception that users are meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake that the user can fix; shown without a traceback.

    Attributes:
        message: One clear sentence that says what is wrong.
        hint: What to do about it; empty where there is nothing to add.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, str]]:
        """Keep the hint when the error crosses a process border."""
        return type(self), (self.message, self.hint)


def unknown(what: str, name: str, known: Iterable[str]) -> BenchError:
    """Build the error for a name that does not exist, with the nearest known name as the hint."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif choices:
        hint = f"Known: {', '.join(choices)}."
    else:
        hint = f"There is no {what} at all yet."
    return BenchError(f"There is no {what} named {name!r}.", hint)
