"""The work of one rung evaluation, done in this process or read from text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from bench.runner.executors import InlineExecutor
from bench.runner.retry_policy import next_divisor
from bench.runner.worker import Order, Outcome, StageOrder
from bench.tuning.asha import Look

Say = Callable[[Look], None]
"""Called after each look, with what was looked at."""


def carry_out(given: Order, time_limit: float | None = None) -> list[Outcome]:
    """Do some work in this process, again where the failure policy says so.

    Returns:
        What became of each try, the last one deciding.
    """
    outcomes: list[Outcome] = []
    while True:
        executor = InlineExecutor(time_limit)
        executor.submit(given)
        outcomes += executor.wait()
        failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
        if outcomes[-1].failure is None:
            return outcomes
        divisor = next_divisor(failures, given.micro_batch_divisor)
        if divisor is None:
            return outcomes
        given = dataclasses.replace(given, micro_batch_divisor=divisor)


def order_as_text(given: Order) -> str:
    """Write an order as JSON, for Tune reads meaning into nested configurations."""
    return json.dumps(dataclasses.asdict(given))


def order_from_text(text: str) -> Order:
    """Read what `order_as_text` wrote."""
    content: dict[str, Any] = json.loads(text)
    stages = [
        StageOrder(
            **{
                **stage,
                "inputs": {name: (kind, key) for name, (kind, key) in stage["inputs"].items()},
            }
        )
        for stage in content.pop("stages")
    ]
    return Order(**content, stages=tuple(stages))
