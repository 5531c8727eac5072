"""The process that reports results to one tracker; see `hook` for its request and its answer.

A tracker's library is foreign code that may hang, print or catch signals, so it is imported only
here. Nothing of it reaches the terminal.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bench.errors import BenchError, describe_exception, printable
from bench.results.schema import read_result
from bench.results.trackers.entry import make_entry

MAX_LENGTH = 300


def report_results(request: dict[str, Any]) -> str:
    """Report the results of a request; return one sentence if that fails, else an empty string."""
    try:
        signal.alarm(math.ceil(request["time_limit"]))  # ends this process, whatever hangs in it
        tracker = _open_tracker(request["tracker"])
        for trial, tags in request["tags"].items():
            signal.alarm(math.ceil(request["time_limit"]))
            result = read_result(Path(request["results"]) / f"{trial}.json")
            tracker.log(make_entry(result, tags))
    except Exception as error:  # a tracker's library may raise anything
        return describe_error(error)
    return ""


def _open_tracker(name: str) -> Any:
    module = importlib.import_module(f"{__package__}.{name}")
    try:
        library = importlib.import_module(module.LIBRARY)
    except ImportError as error:
        message = f"{module.LIBRARY} cannot be imported ({error})."
        raise BenchError(message, f"Install it: pip install 'llmrec-bench[{name}]'") from error
    return module.Tracker(library)


def describe_error(error: Exception) -> str:
    """Describe an error in one line, without the credentials that a URL may contain.

    Example:
        >>> describe_error(OSError("no answer from http://me:secret@host/x"))
        'OSError: no answer from http://***@host/x'
    """
    if isinstance(error, BenchError):
        return f"{error.message} {error.hint}".strip()
    return printable(describe_exception(error).splitlines()[0], limit=MAX_LENGTH)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as answer, open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
        answer.write(report_results(json.load(sys.stdin)))
