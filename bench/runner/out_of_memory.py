"""Out of memory: how it is recognized, and what the next attempt does to need less.

First a unit takes more of its GPU, up to all of it. Then its micro-batches are halved at the
same global batch. Below one sample per micro-batch, trainings recompute activations instead
(`bench.models.lm.train.trainer_setup`). Artifacts record the divisor that sufficed, and stages of
the same configuration start with it (`ResourceEstimator.recall_divisor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.results.schema import Attempt

MAX_DIVISOR = 256
SPLITTING = {
    *("decode", "generate", "gru4rec", "hidden", "preference", "pretrain", "rerank"),
    *("reward_pairs", "sasrec", "sft"),
}
"""Kinds of stages that can process a batch in smaller parts."""


class NextAttempt(NamedTuple):
    """How a unit is tried again; the share is of a GPU, 0 for a unit on CPUs."""

    micro_batch_divisor: int
    gpu_share: float


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, of the machine or of a GPU."""
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


def reduce_memory(attempts: Sequence[Attempt], gpu_share: float) -> NextAttempt | None:
    """Return an attempt that needs less memory than the latest one, or None if there is none left.

    A stage without micro-batches is retried once, since another process may have used the memory.
    """
    latest = attempts[-1]
    divisor = latest.micro_batch_divisor
    if 0 < gpu_share < 1:
        return NextAttempt(divisor, min(1.0, 2 * gpu_share))
    if latest.stage in SPLITTING:
        return NextAttempt(divisor * 2, gpu_share) if divisor < MAX_DIVISOR else None
    is_first = [attempt.failure for attempt in attempts].count("out of memory") == 1
    return NextAttempt(divisor, gpu_share) if is_first else None
