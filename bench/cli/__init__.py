"""The command line: one function a command, each importing what it needs when it runs."""

from __future__ import annotations

import sys

from bench.errors import BenchError


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
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
