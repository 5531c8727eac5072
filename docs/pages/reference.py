"""The reference: every metric from its function's docstring, every command from the real tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer

from bench.cli.app import app
from bench.metrics import accuracy, diversity, evaluate, fairness, registry, rerank, writing
from bench.metrics.metric import Metric

from .markdown import about, code, docstring, document, paragraphs, prose, table

EXIT = "Exit code: 0 all fine, 1 some cell failed, 2 wrong use, 130 interrupted."
ROOMS = (accuracy, diversity, fairness, rerank, writing)


def metrics_page() -> str:
    """Write the page of the metrics."""
    rows = [
        (
            code(metric.pattern),
            metric.title,
            metric.description,
            _tasks(metric),
            "higher" if metric.higher_is_better else "lower",
            "per case" if metric.per_case else "whole set",
        )
        for metric in registry.BUILT_IN
    ]
    parts = [
        about(registry),
        table(("metric", "name", "meaning", "of", "better", "computed"), rows),
        "A board's column, `--metric` and result files use these names. Metrics that are computed"
        " case by case keep the value of every case; those of a whole set keep what a test needs to"
        " compute them anew ([Statistics](statistics.md)).",
        "## All at once",
        about(evaluate),
        _function(evaluate.evaluate),
    ]
    for room in ROOMS:
        parts += [f"## {room.__name__.rpartition('.')[2].capitalize()}", about(room)]
        parts += [_function(one) for one in _public(room)]
    return document("Metrics", *parts)


def _tasks(metric: Metric) -> str:
    tasks = {"rankings": metric.of_rankings, "lists": metric.of_lists}
    return ", ".join(name for name, defined in tasks.items() if defined)


def _public(room: Any) -> list[Callable[..., Any]]:
    return [
        one
        for name, one in vars(room).items()
        if callable(one) and not isinstance(one, type) and one.__module__ == room.__name__
        if not name.startswith("_")
    ]


def _title(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix('bench.metrics.')}.{function.__name__}"


def _function(function: Callable[..., Any]) -> str:
    read = docstring(function)
    parts = [f"### {_title(function)}", about(function)]
    rows = [(code(one.arg_name), prose(one.description or "")) for one in read.params]
    if rows:
        parts.append(table(("argument", "what it is"), rows))
    if read.returns:
        parts.append(f"Returns: {paragraphs(read.returns.description or '')}")
    return "\n\n".join(parts)


def commands_page() -> str:
    """Write the page of the commands, from the tree that `bench` runs."""
    tree = typer.main.get_command(app)
    parts = [
        prose(tree.help or ""),
        "Exit code: 0 all fine, 1 some cell failed, 2 wrong use, 130 interrupted.",
    ]
    for name, command in leaves(tree, "bench"):
        parts += [f"## {name}", paragraphs(command.help or ""), _usage(name, command)]
    return document("Commands", *parts)


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the whole names of all commands that are no groups, with the commands."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield name, command
    for word, one in (inside or {}).items():
        yield from leaves(one, f"{name} {word}")


def _usage(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [(code(record[0]), prose(record[1])) for record in records if record]
    return f"    {usage}\n\n" + table(("argument or option", "what it is"), rows)
