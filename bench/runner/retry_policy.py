"""Retry policy: what happens after a failure. Ray's own retries are off."""

from __future__ import annotations

from collections.abc import Sequence

from bench.runner.worker import Failure

MAX_WORKER_DEATHS = 2
MAX_DIVISOR = 64


def decide_retry(failures: Sequence[Failure], divisor: int) -> int | None:
    """Return the micro-batch divisor of the next attempt of a unit, or None to give it up.

    A dead worker may be the machine's fault: the unit is retried unchanged, twice. Out of memory
    halves the micro-batch at the same global batch. An error or a timeout would occur again.

    Args:
        failures: All failures of the unit so far, the latest last.
        divisor: The divisor of the latest attempt.
    """
    latest = failures[-1]
    if latest == "worker died" and failures.count("worker died") <= MAX_WORKER_DEATHS:
        return divisor
    if latest == "out of memory" and divisor < MAX_DIVISOR:
        return divisor * 2
    return None
