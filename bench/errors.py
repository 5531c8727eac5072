"""The one exception that users are meant to see, and foreign texts made fit to be seen."""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable

USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"<>]+@")
SECRET_PARAMETER = re.compile(
    r"([?&;#][^=&\s'\"<>]*(?:token|key|secret|sig|pass|pwd|credential|auth|policy)[^=&\s'\"<>]*=)"
    r"[^&\s'\"<>#]+",
    flags=re.IGNORECASE,
)
NO_PLUGINS = (
    os.path.join(os.path.dirname(__file__), ""),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    "<",
)
"""Where the code lies that is no plug-in: this project, installed packages, and generated code."""
MAX_TEXT = 2000
"""Characters of a foreign text that are kept, such as the message of an exception."""
UNPRINTABLE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Terminal escape sequences, control characters, and characters that reverse the direction."""


class BenchError(Exception):
    """A mistake that the user can fix; shown without a traceback.

    Foreign texts in it are made printable, and secrets in addresses are masked.

    Attributes:
        message: One clear sentence that says what is wrong.
        hint: What to do about it; empty where there is nothing to add.
        exit_code: Exit code of a command that it ends.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = printable(message), printable(hint)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, str]]:
        """Keep the hint when the error crosses a process border."""
        return type(self), (self.message, self.hint)


def unknown(what: str, name: str, choices: Iterable[str]) -> BenchError:
    """Build the error for a name that does not exist, with the nearest known name as the hint."""
    names = sorted(choices)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif names:
        hint = f"Known: {', '.join(names)}."
    else:
        hint = f"There is no {what} at all yet."
    return BenchError(f"There is no {what} named {name!r}.", hint)


def describe_exception(error: BaseException) -> str:
    """Write any exception as `Type: text`, bounded and printable, whatever its `__str__` does.

    The last line of a plug-in that it went through is added: `Type: text (mine.py:14)`.
    """
    try:
        text = str(error)
    except BaseException as failure:  # foreign code
        text = f"its text raises {type(failure).__name__}"
    places = [
        f" ({os.path.basename(frame.filename)}:{frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(NO_PLUGINS)
    ]
    description = f"{type(error).__name__}: {text}".removesuffix(": ")
    return printable(description) + printable("".join(places[-1:]))


def printable(text: object, *, limit: int = MAX_TEXT) -> str:
    """Shorten a text from outside, without control characters and secrets."""
    plain = mask_secrets(strip_controls(str(text)[: 4 * limit]))
    return plain if len(plain) <= limit else f"{plain[:limit]} …"


def strip_controls(text: str) -> str:
    """Remove escape sequences and control characters; write lone surrogates as escapes.

    Line ends and tabs stay.
    """
    return UNPRINTABLE.sub("", text).encode("utf-8", "backslashreplace").decode()


def mask_secrets(text: str) -> str:
    """Replace users, passwords, keys and signatures in addresses by ***.

    Example:
        >>> mask_secrets("https://me:secret@example.org/x?id=3&X-Amz-Signature=abc")
        'https://***@example.org/x?id=3&X-Amz-Signature=***'
    """
    return SECRET_PARAMETER.sub(r"\1***", USER_INFO.sub(r"\1***@", text))
