"""The work of one rung evaluation, done in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bench.runner.executors import InlineExecutor
from bench.runner.retry_policy import decide_retry
from bench.runner.worker import TaskResult, TaskSpec
from bench.tuning.asha import Look

Say = Callable[[Look], None]
"""Called after each look, with what was looked at."""


def carry_out(given: TaskSpec, time_limit: float | None = None) -> list[TaskResult]:
    """Do some work in this process, again where the failure policy says so.

    Returns:
        What became of each try, the last one deciding.
    """
    outcomes: list[TaskResult] = []
    while True:
        executor = InlineExecutor(time_limit)
        executor.submit(given)
        outcomes += executor.wait()
        failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
        if outcomes[-1].failure is None:
            return outcomes
        divisor = decide_retry(failures, given.job.micro_batch_divisor)
        if divisor is None:
            return outcomes
        job = dataclasses.replace(given.job, micro_batch_divisor=divisor)
        given = dataclasses.replace(given, job=job)
