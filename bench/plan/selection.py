"""Stages that select one of several rankings by a metric on validation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow
from bench.config.fields import check_setting, flatten, has_setting
from bench.errors import BenchError
from bench.hashing import Plain
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
    """Rank the test cases, or re-rank the test lists, with the value that is best on validation.

    The first of equal values wins; a single one needs no selection. `rank` composes the ranking of
    `data.test` with a value. The metric is, for example, "NDCG@5".
    """
    if len(values) == 1:
        return rank(data, values[0])
    on_test = {str(value): rank(data, value) for value in values}
    if "lists" in next(iter(on_test.values())).inputs:
        inputs = {f"test_{index}": stage for index, stage in enumerate(on_test.values())}
        inputs["lists"] = inputs["test_0"].inputs["lists"]
        return _select(on_test, metric, inputs)
    on_valid = {str(value): rank(data.on_validation, value) for value in values}
    return select_ranking(on_valid, on_test, data.valid, metric=metric)


def select_ranking(
    validation: Mapping[str, Stage], test: Mapping[str, Stage], valid: Rows, *, metric: str
) -> Stage:
    """Select the ranking of the test cases whose candidate is best on validation.

    A plan is fixed before anything runs, so all candidates rank the test cases as well; the
    validation cases alone decide which of the rankings is returned. Rankings of both have the same
    names; the best value of the metric (highest or lowest, as its definition says) wins, and the
    first of equal ones.

    Returns:
        A ranking like its candidates, with the selection and all values as stage metadata.

    Raises:
        BenchError: There is no such metric.
    """
    assert validation, "there are no candidates"
    assert validation.keys() == test.keys(), "candidates rank both validation and test cases"
    inputs = {"data": valid.data, "cases": valid.stage}
    for index, name in enumerate(validation):
        inputs |= {f"valid_{index}": validation[name], f"test_{index}": test[name]}
    return _select(validation, metric, inputs, group_titles=valid.group_titles)


def _select(
    names: Iterable[str], metric: str, inputs: Mapping[str, Stage], *, group_titles: bool = True
) -> Stage:
    compared = get_metric(metric)
    named = {
        name: plugin
        for name, plugin in plugin_metrics().items()
        if plugin.family == compared.family
    }
    config = SelectConfig(
        names=tuple(names),
        metric=compared.name,
        group_titles=group_titles,
        plugins=plugin_references(named),
    )
    return Stage(kind="select", config=config, inputs=inputs)


def list_candidates(
    card: BoardCard, row: BoardRow, settings: Mapping[str, Plain], fixed: Container[str]
) -> dict[str, dict[str, Plain]]:
    """Combine the values of a row, and of the board if the row has the setting, to select among.

    Returns:
        Resolved settings by name, e.g. "alpha = 0.8, beta = 0.1"; one with an empty name if there
        is nothing to select. Those that `--set` fixes are not selected.

    Raises:
        BenchError: The row both sets and selects a setting, or a value is not valid.
    """
    own, set_here = flatten(row.select), flatten(row.settings)
    if both := sorted(own.keys() & set_here):
        raise BenchError(f"Row {row.name!r} both sets and selects {both[0]}.", "Remove one.")
    cls = plugins.method_class(row.method)
    of_board = {
        path: values
        for path, values in flatten(card.select).items()
        if has_setting(cls, path) and path not in set_here
    }
    grid = {path: values for path, values in (of_board | own).items() if path not in fixed}
    for path, values in grid.items():
        if not isinstance(values, list | tuple) or not values:
            raise BenchError(f"Row {row.name!r} selects {path} from {values!r}.", "Write a list.")
    candidates = {}
    for values in itertools.product(*grid.values()):
        combination = {
            path: check_setting(cls, path, value, f"select of row {row.name!r}")
            for path, value in zip(grid, values, strict=True)
        }
        name = ", ".join(f"{path} = {value}" for path, value in combination.items())
        candidates[name] = {**settings, **combination}
    return candidates


def describe_selection(
    candidates: Mapping[str, Mapping[str, Plain]], metric: str
) -> dict[str, Plain]:
    """Return a row's settings, with a sentence in the place of values that validation selects."""
    several = list(candidates.values())
    described: dict[str, Plain] = {}
    for path, value in several[0].items():
        values = list(dict.fromkeys(str(settings[path]) for settings in several))
        described[path] = (
            value
            if len(values) == 1
            else f"selected on validation by {metric} from {', '.join(values)}"
        )
    return described
