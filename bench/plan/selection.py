"""A choice that a plan makes on validation: which of several rankings it ends in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from bench.hashing import Plain
from bench.metrics.plugins import plugin_arguments
from bench.metrics.registry import get_metric, plugin_metrics
from bench.plan.stage import Stage
from bench.plan.types import Data, Rows

Value = TypeVar("Value")


def chosen(
    values: Sequence[Value], ranked: Callable[[Data, Value], Stage], data: Data, *, metric: str
) -> Stage:
    """Rank the test cases with the value that is best on validation; a single one is no choice.

    Args:
        values: One or more; the first wins a tie.
        ranked: Composes the ranking of `data.test` with a value, whatever cases these are.
        data: The trial's.
        metric: What decides, e.g. "NDCG@5".
    """
    if len(values) == 1:
        return ranked(data, values[0])
    on_valid, on_test = (
        {str(value): ranked(cases, value) for value in values}
        for cases in (replace(data, test=data.valid), data)
    )
    return select(on_valid, on_test, data.valid, metric=metric)


def select(
    validation: Mapping[str, Stage], test: Mapping[str, Stage], valid: Rows, *, metric: str
) -> Stage:
    """Take, of several rankings of the test cases, the one whose settings are best on validation.

    A plan is fixed before anything runs, so all candidates rank the test cases, too; which of the
    rankings counts is decided by the validation cases alone.

    Args:
        validation: By candidate, the ranking of the validation cases; the first wins a tie.
        test: By the same names, the ranking that the plan would end in.
        valid: The validation cases.
        metric: What the best has most of (or least, where lower is better), e.g. "NDCG@5".

    Returns:
        A ranking like its candidates; its facts are the choice and every candidate's value.

    Raises:
        BenchError: There is no such metric.
    """
    assert validation, "there is nothing to choose from"
    assert validation.keys() == test.keys(), "a candidate ranks validation and test cases"
    judge = get_metric(metric)
    plugins = {
        name: plugin for name, plugin in plugin_metrics().items() if plugin.family == judge.family
    }
    extra, functions = plugin_arguments(plugins)
    args: dict[str, Plain] = {"names": list(validation), "metric": judge.name, **extra}
    inputs = {"data": valid.data, "cases": valid.stage}
    for place, name in enumerate(validation):
        inputs |= {f"valid_{place}": validation[name], f"test_{place}": test[name]}
    return Stage(kind="select", args=args, inputs=inputs, functions=functions)
