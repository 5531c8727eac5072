"""What to do about a failure. Ray's own retries are off: they repeat hours of work unasked."""

from __future__ import annotations

from collections.abc import Sequence

from bench.runner.worker import Failure

MAX_WORKER_DEATHS = 2
MAX_DIVISOR = 64


def next_divisor(failures: Sequence[Failure], divisor: int) -> int | None:
    """Say with which micro-batch divisor a unit is tried again, or None to give it up.

    A dead worker may be the machine's doing, so the unit is tried again as it was, twice. Out of
    memory halves the micro-batch at the same global batch. An error or a hang would come again.

    Args:
        failures: All failures of the unit so far, the latest last.
        divisor: The divisor of the latest try.
    """
    latest = failures[-1]
    if latest == "worker died" and failures.count("worker died") <= MAX_WORKER_DEATHS:
        return divisor
    if latest == "out of memory" and divisor < MAX_DIVISOR:
        return divisor * 2
    return None
