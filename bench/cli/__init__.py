"""The command line: one function a command, each importing what it needs when it runs."""

from __future__ import annotations

import errno
import sys

from bench.errors import BenchError

# Full, read-only, forbidden, or a file where a folder must be: the user's to mend, so no traceback.
OF_THE_MACHINE = {
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
        if error.errno not in OF_THE_MACHINE:
            raise
        print(f"Error: {error.strerror}: {error.filename or 'no file named'}.", file=sys.stderr)
        print("Hint: Name other folders with --store, --results and --out.", file=sys.stderr)
        sys.exit(2)
