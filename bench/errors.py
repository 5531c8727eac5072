"""The one exception that users are meant to see, and foreign texts made fit to be seen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

MAX_TEXT = 2000
"""Characters of a foreign text that are kept, such as the message of an exception."""
UNPRINTABLE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Terminal escape sequences, control characters, and characters that reverse the direction."""


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


def describe_exception(error: BaseException) -> str:
    """Write any exception as `Type: text`, bounded and printable, whatever its `__str__` does."""
    try:
        text = str(error)
    except BaseException as failure:  # foreign code
        text = f"its text raises {type(failure).__name__}"
    return printable(f"{type(error).__name__}: {text}".removesuffix(": "))


def printable(text: object, *, limit: int = MAX_TEXT) -> str:
    """Remove from a foreign text what a terminal or a file could not take, and shorten it.

    Escape sequences and control characters are removed, except line ends and tabs; lone surrogates
    are written as escapes.
    """
    plain = UNPRINTABLE.sub("", str(text)[: 4 * limit]).encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= limit else f"{plain[:limit]} …"
