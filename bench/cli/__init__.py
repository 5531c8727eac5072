"""The command line: one function per command, each importing what it needs when it runs."""

from __future__ import annotations

import errno
import sys

from bench.errors import BenchError

# Disk full, read-only, no permission, a file where a folder must be: for the user to fix.
MACHINE_ERRORS = {
    *(errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT),
    *(errno.ENOTDIR, errno.EEXIST),
}


def main() -> None:
    """Run the command line; a user's mistake becomes one sentence and exit code 2."""
    from bench.cli.app import app

    try:
        app()
    except BenchError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"Hint: {error.hint}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        print(f"Error: {error.strerror}: {error.filename or 'no file named'}.", file=sys.stderr)
        print("Hint: Name other folders with --store, --results and --out.", file=sys.stderr)
        sys.exit(2)
