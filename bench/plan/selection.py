"""Stages that select one of several rankings by a metric on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.metrics.plugins import plugin_references
from bench.metrics.registry import get_metric, plugin_metrics
from bench.plan.config import Config, function_field
from bench.plan.stage import Stage
from bench.plan.types import Data, Rows

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class SelectConfig(Config):
    """Config of `select_ranking`."""

    names: tuple[str, ...]
    """Candidates, in the order that decides ties."""
    metric: str
    """Metric that is compared, for example "NDCG@5"."""
    group_titles: bool
    """Whether the metric counts items of one title as one."""
    plugins: tuple[str, ...] = function_field((), setting=False)
    """Reference to the metric if it is a plug-in."""


def select_on_validation(
    values: Sequence[Value], rank: Callable[[Data, Value], Stage], data: Data, *, metric: str
) -> Stage:
    """Rank the test cases with the value that is best on validation.

    Args:
        values: One or more values; the first wins a tie, and a single one needs no selection.
        rank: Composes the ranking of `data.test` with a value.
        data: The trial's data.
        metric: Metric that is compared, for example "NDCG@5".
    """
    if len(values) == 1:
        return rank(data, values[0])
    on_valid, on_test = (
        {str(value): rank(split, value) for value in values}
        for split in (replace(data, test=data.valid), data)
    )
    return select_ranking(on_valid, on_test, data.valid, metric=metric)


def select_ranking(
    validation: Mapping[str, Stage], test: Mapping[str, Stage], valid: Rows, *, metric: str
) -> Stage:
    """Select, of several rankings of the test cases, the one that is best on validation.

    A plan is fixed before anything runs, so all candidates rank the test cases as well; the
    validation cases alone decide which of the rankings is returned.

    Args:
        validation: Ranking of the validation cases by candidate; the first wins a tie.
        test: Ranking of the test cases by the same names.
        valid: The validation cases.
        metric: Metric whose best value wins (highest or lowest, as its definition says).

    Returns:
        A ranking like its candidates, with the selection and all values as stage metadata.

    Raises:
        BenchError: There is no such metric.
    """
    assert validation, "there are no candidates"
    assert validation.keys() == test.keys(), "candidates rank both validation and test cases"
    compared = get_metric(metric)
    plugins = {
        name: plugin
        for name, plugin in plugin_metrics().items()
        if plugin.family == compared.family
    }
    config = SelectConfig(
        names=tuple(validation),
        metric=compared.name,
        group_titles=valid.group_titles,
        plugins=plugin_references(plugins),
    )
    inputs = {"data": valid.data, "cases": valid.stage}
    for index, name in enumerate(validation):
        inputs |= {f"valid_{index}": validation[name], f"test_{index}": test[name]}
    return Stage(kind="select", config=config, inputs=inputs)
