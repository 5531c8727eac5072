"""`bench list`, `bench show` and `bench schema`."""

from __future__ import annotations

import json
from typing import Literal, get_args

import bench
from bench.cli import options as o
from bench.config import plugins
from bench.errors import BenchError, unknown

Kind = Literal["methods", "datasets", "models", "boards", "suites", "encoders", "metrics"]


def list_names(
    what: Kind | None = o.argument(None, "What to list (default: everything).", None),
    as_json: bool = o.AS_JSON,
) -> None:
    """List methods, data sets, models, boards, suites, encoders and metrics, with errors."""
    kinds = [what] if what else list(get_args(Kind))
    entries = {kind: getattr(bench, f"list_{kind}")() for kind in kinds}
    if as_json:
        o.print_json(
            {
                kind: [
                    {"name": entry.name, "summary": entry.summary, "error": entry.error or None}
                    for entry in kind_entries
                ]
                for kind, kind_entries in entries.items()
            }
        )
        return
    for kind, kind_entries in entries.items():
        if len(kinds) > 1:
            print(f"{kind}:")
        width = max((len(entry.name) for entry in kind_entries), default=0)
        for entry in kind_entries:
            text = f"BROKEN: {entry.error}" if entry.error else entry.summary
            print(f"  {entry.name:<{width}}  {text}".rstrip())
        if not kind_entries:
            print("  (none)")


CARD_KINDS = {
    "datasets": "dataset",
    "models": "model",
    "leaderboards": "board",
    "suites": "suite",
    "budgets": "budget",
    "encoders": "encoder",
}


def show(
    name: str = o.argument(
        None, "A method, metric, data set, model, board, suite, budget or encoder."
    ),
    as_json: bool = o.AS_JSON,
) -> None:
    """Show everything with this name: a method's settings, a metric, or the content of a card."""
    contents = _read_contents(name)
    if not contents:
        cards = [card for folder in CARD_KINDS for card in plugins.card_paths(folder)]
        metrics = (metric.name for metric in bench.list_metrics())
        names = {*plugins.method_names(), *cards, *metrics}
        raise unknown("method, metric, data set, model, board or suite", name, names)
    if as_json:
        o.print_json(contents)
        return
    for kind, content in contents.items():
        print(f"{kind} {name}")
        notes = _describe_method(name) if kind == "method" else {}
        for key, value in content.items():
            if key == "about":
                print(value)
            else:
                print(f"  {key} = {json.dumps(value, default=str)}{notes.get(key, '')}")


def _describe_method(name: str) -> dict[str, str]:
    """Return type and meaning of each setting of a method, as printed after its default."""
    from bench.config.fields import describe_settings

    described = describe_settings(plugins.method_class(name)).items()
    return {path: f"  ({declared}) {text}".rstrip() for path, (declared, text) in described}


def _read_contents(name: str) -> dict[str, dict[str, object]]:
    from bench.config.fields import default_settings
    from bench.metrics.registry import list_metrics

    contents: dict[str, dict[str, object]] = {}
    if name in plugins.method_names():
        doc = (plugins.method_class(name).__doc__ or "").strip()
        contents["method"] = {"about": f"  {doc}", **default_settings(plugins.method_class(name))}
    for metric in list_metrics():
        if name in (metric.family, metric.pattern):
            contents["metric"] = {
                "about": f"  {metric.pattern}, {metric.title}: {metric.description}",
                "higher_is_better": metric.higher_is_better,
                "maximum": "k" if metric.maximum is None else f"{metric.maximum:g}",
            }
    for folder, kind in CARD_KINDS.items():
        if name in plugins.card_paths(folder):
            load = getattr(plugins, f"{kind}_card")
            try:
                contents[kind] = load(name).model_dump(mode="json")
            except BenchError as error:
                contents[kind] = {"error": error.message}
    return contents


def schema() -> None:
    """Print the JSON Schema of result files."""
    from bench.results.schema import Result

    o.print_json(Result.model_json_schema())
