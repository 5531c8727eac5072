"""Retry policy: what happens after a failure. Ray's own retries are off."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.schema import Attempt

MAX_WORKER_DEATHS = 2
MAX_DIVISOR = 256
"""Beyond the batch size, trainings recompute activations."""
SPLITTING = {
    *("decode", "generate", "gru4rec", "hidden", "preference", "pretrain", "rerank"),
    *("reward_pairs", "sasrec", "sft"),
}
"""Kinds of stages that can process a batch in smaller parts."""


def decide_retry(attempts: Sequence[Attempt]) -> int | None:
    """Return the micro-batch divisor of the next attempt of a unit, or None to give it up.

    A dead worker may be the machine's fault: the unit is retried unchanged, twice. Out of memory
    halves the micro-batch at the same global batch; a stage without micro-batches is retried once,
    since another process may have used the memory. An error or a timeout would occur again. The
    attempts are all failed ones so far, the latest last.
    """
    latest, failures = attempts[-1], [attempt.failure for attempt in attempts]
    divisor = latest.micro_batch_divisor
    if latest.failure == "worker died" and failures.count("worker died") <= MAX_WORKER_DEATHS:
        return divisor
    if latest.failure == "out of memory":
        if latest.stage not in SPLITTING:
            return divisor if failures.count("out of memory") == 1 else None
        return divisor * 2 if divisor < MAX_DIVISOR else None
    return None
