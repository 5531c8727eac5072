"""Standard output of a command: text that is safe in a terminal, or one JSON document."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from bench.errors import mask_secrets, strip_controls

_documents: list[io.StringIO] = []


class _PlainStream:
    """A text stream without the escape sequences and secrets of foreign texts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(mask_secrets(strip_controls(text)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def write_document(text: str) -> None:
    """Print a command's JSON document."""
    print(text, file=_documents[-1] if _documents else None)


@contextmanager
def plain_output(*, only_document: bool) -> Iterator[None]:
    """Make what is printed to standard output plain text.

    If `only_document`, only `write_document` prints to it: whatever else is printed, by any library
    or child process, goes to standard error.
    """
    stdout = sys.stdout
    with contextlib.ExitStack() as stack:
        if only_document:
            _documents.append(io.StringIO())
            stack.enter_context(_redirect_descriptor())
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        else:
            stack.enter_context(contextlib.redirect_stdout(_PlainStream(stdout)))
        try:
            yield
        finally:
            stack.close()
            if only_document:
                stdout.write(_documents.pop().getvalue())
                stdout.flush()


@contextmanager
def _redirect_descriptor() -> Iterator[None]:
    """Send what is written to descriptor 1 to descriptor 2."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
