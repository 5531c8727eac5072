"""Retry policy: what happens after a failure. Ray's own retries are off."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.schema import Attempt
from bench.runner.out_of_memory import NextAttempt, reduce_memory

MAX_WORKER_DEATHS = 2


def decide_retry(attempts: Sequence[Attempt], gpu_share: float = 0.0) -> NextAttempt | None:
    """Return the next attempt at a unit, or None to give it up.

    A dead worker may be the machine's fault: the unit is retried unchanged, twice. After an
    out-of-memory it needs less memory. An error or a timeout would occur again. The attempts are
    all failed ones so far, the latest last; `gpu_share` is the latest one's.
    """
    latest, failures = attempts[-1], [attempt.failure for attempt in attempts]
    if latest.failure == "worker died" and failures.count("worker died") <= MAX_WORKER_DEATHS:
        return NextAttempt(latest.micro_batch_divisor, gpu_share)
    if latest.failure == "out of memory":
        return reduce_memory(attempts, gpu_share)
    return None
