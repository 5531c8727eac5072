"""The command line: one function per command, each importing what it needs when it runs."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys

from bench.cli.output import plain_output
from bench.errors import BenchError
from bench.foreign_code import working_folder
from bench.runner.signals import stop_on_signals

# Disk full, read-only, no permission, a file where a folder must be: for the user to fix.
MACHINE_ERRORS = {
    *(errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR),
}
HELP_OPTIONS = {"-h", "--help"}


class _SteadyStream(io.TextIOWrapper):
    """Standard error that outlives its reader: what cannot be written is dropped."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def _keep_streams() -> None:
    """Open the standard streams that are closed, since files would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    elif sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _SteadyStream(
            sys.stderr.buffer,
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def _explain(error: OSError) -> BenchError | None:
    """Return what the user can do about an error of the machine; None for one of ours."""
    if working_folder() is None:
        return BenchError("The working folder no longer exists.", "Change to another folder.")
    if error.errno not in MACHINE_ERRORS:
        return None
    hint = "Name other folders with --store, --results and --out."
    return BenchError(f"{error.strerror}: {error.filename or 'no file named'}.", hint)


def main() -> None:
    """Run the command line; a user's mistake becomes one sentence and exit code 2."""
    from bench.cli.app import app

    _keep_streams()
    # A help page has colors, and no text but the command line's own.
    is_help = not sys.argv[1:] or not HELP_OPTIONS.isdisjoint(sys.argv)
    output = (
        contextlib.nullcontext() if is_help else plain_output(only_document="--json" in sys.argv)
    )
    try:
        with stop_on_signals() as received, output:
            try:
                app()
            except SystemExit as end:
                if received and end.code == 128 + signal.SIGINT:  # typer's, whatever the signal
                    sys.exit(128 + received[0])
                raise
    except (BenchError, OSError) as error:
        explained = _explain(error) if isinstance(error, OSError) else error
        if explained is None:
            raise
        print(f"Error: {explained.message}", file=sys.stderr)
        if explained.hint:
            print(f"Hint: {explained.hint}", file=sys.stderr)
        sys.exit(explained.exit_code)
