"""Reference pages: metrics from docstrings, commands from the command tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer

from bench.cli.app import app
from bench.metrics import accuracy, diversity, evaluate, fairness, registry, rerank, writing
from bench.metrics.metric import Metric

from .markdown import about, code, docstring, document, paragraphs, prose, table

EXIT = "Exit code: 0 success, 1 a trial failed, 2 wrong use, 130 interrupted."
MODULES = (accuracy, diversity, fairness, rerank, writing)


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
        table(("metric", "name", "meaning", "task", "better", "computed"), rows),
        "Columns of boards, `--metric` and result files use these names. Results store the value of"
        " every case of per-case metrics, and for list-level metrics what tests need to recompute"
        " them ([Statistics](statistics.md)).",
        "## All metrics of a ranking",
        about(evaluate),
        _describe_function(evaluate.evaluate),
    ]
    for module in MODULES:
        parts += [f"## {module.__name__.rpartition('.')[2].capitalize()}", about(module)]
        parts += [_describe_function(function) for function in _list_functions(module)]
    return document("Metrics", *parts)


def _tasks(metric: Metric) -> str:
    tasks = {"rankings": metric.of_rankings, "lists": metric.of_lists}
    return ", ".join(name for name, defined in tasks.items() if defined)


def _list_functions(module: Any) -> list[Callable[..., Any]]:
    return [
        member
        for name, member in vars(module).items()
        if callable(member) and not isinstance(member, type)
        if member.__module__ == module.__name__
        if not name.startswith("_")
    ]


def _title(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix('bench.metrics.')}.{function.__name__}"


def _describe_function(function: Callable[..., Any]) -> str:
    parsed = docstring(function)
    parts = [f"### {_title(function)}", about(function)]
    rows = [(code(each.arg_name), prose(each.description or "")) for each in parsed.params]
    if rows:
        parts.append(table(("argument", "meaning"), rows))
    if parsed.returns:
        parts.append(f"Returns: {paragraphs(parsed.returns.description or '')}")
    return "\n\n".join(parts)


def commands_page() -> str:
    """Write the page of the commands, from the tree that `bench` runs."""
    tree = typer.main.get_command(app)
    parts = [prose(tree.help or ""), EXIT]
    for name, command in list_commands(tree, "bench"):
        parts += [f"## {name}", paragraphs(command.help or ""), _usage(name, command)]
    return document("Commands", *parts)


def list_commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield full names and commands, without groups."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
    for word, subcommand in (subcommands or {}).items():
        yield from list_commands(subcommand, f"{name} {word}")


def _usage(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [(code(record[0]), prose(record[1])) for record in records if record]
    return f"    {usage}\n\n" + table(("argument or option", "meaning"), rows)
