"""What claims speak of: the metrics of `bench.metrics`, and what papers print beside them."""

from __future__ import annotations

import itertools
import re
from typing import Any

from bench.errors import BenchError, unknown
from bench.metrics.names import parse

# What the papers print or plot beside the metrics of bench.metrics: whether more is better.
OTHER_METRICS = {
    "MAP@5": True,
    "seconds": False,
    "training_time_relative_to_default": False,
    "zero_ig_tokens_pct": False,
    "first_word_share": False,
}
_BRACES = re.compile(r"\{([^{}]*)\}")


def higher_is_better(metric: str) -> bool:
    """Say which direction of a metric is the better one.

    Raises:
        BenchError: If there is no such metric.
    """
    if metric in OTHER_METRICS:
        return OTHER_METRICS[metric]
    try:
        return parse(metric).higher_is_better
    except BenchError as error:
        raise BenchError(
            error.message, error.hint or unknown("", metric, OTHER_METRICS).hint
        ) from (error)


def spelled_out(value: Any) -> Any:
    """Multiply out the braces of a list of metrics that is written as one string.

    Example:
        >>> spelled_out("{HR,NDCG}@5 MGU@1")
        ['HR@5', 'NDCG@5', 'MGU@1']
    """
    if not isinstance(value, str):
        return value
    words = []
    for word in value.split():
        parts = _BRACES.split(word)
        choices = [part.split(",") if odd % 2 else [part] for odd, part in enumerate(parts)]
        words += ["".join(chosen) for chosen in itertools.product(*choices)]
    return words
