"""A method's settings: who sets them, in which order, and their resolved values.

Settings are addressed by dotted path, through the configs that a method holds
(`sft.learning_rate`). Later over earlier: the method's defaults, its `AS_PUBLISHED`, the model
card, the budget, the board's row, `--set`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.config import plugins
from bench.config.backbone_card import ModelCard
from bench.config.cards import BoardRow, Budget
from bench.config.fields import (
    build_settings,
    check_setting,
    default_settings,
    flatten,
    has_setting,
    setting_fields,
    setting_paths,
    similar_path,
)
from bench.config.toml import Override, parse_value
from bench.errors import BenchError, unknown
from bench.hashing import Plain

AS_PUBLISHED = "as_published"

Layer = tuple[str, Mapping[str, Mapping[str, Any]]]
"""Where settings come from, and the settings by method and path."""


def setting_layers(
    methods: Iterable[str],
    *,
    model: tuple[str, ModelCard] | None,
    budget: tuple[str, Budget],
) -> list[Layer]:
    """List the settings of a model card and a budget, the weaker first.

    A setting for every method applies to the methods that have it.

    Raises:
        BenchError: No method at all has such a setting.
    """
    layers: list[Layer] = []
    in_run = sorted(set(methods))
    if model is not None:
        name, card = model
        layers.append((f"model {name}", _spread(card.every, in_run, f"model {name}")))
        layers.append((f"model {name}", _flatten_each(card.methods)))
    name, spent = budget
    where = f"budget {name}"
    layers.append((where, _spread(spent.every, in_run, where)))
    if model is not None:
        layers.append((where, _spread(spent.tuning.get(model[1].tuning, {}), in_run, where)))
    layers.append((where, _flatten_each(spent.methods)))
    return layers


def _flatten_each(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {method: flatten(settings) for method, settings in methods.items()}


def _spread(
    every: Mapping[str, Any], methods: Sequence[str], where: str
) -> dict[str, dict[str, Any]]:
    settings = flatten(every)
    classes = {method: plugins.method_class(method) for method in methods}
    for path in settings:
        if not any(has_setting(cls, path) for cls in classes.values()):
            _require_somewhere(path, where)
    return {
        method: {path: value for path, value in settings.items() if has_setting(cls, path)}
        for method, cls in classes.items()
    }


def _require_somewhere(path: str, where: str) -> None:
    everywhere: set[str] = set()
    for method in plugins.method_names():
        try:
            cls = plugins.method_class(method)
        except BenchError:  # a broken plug-in does not concern this run
            continue
        if has_setting(cls, path):
            return
        everywhere |= set(setting_paths(cls))
    raise BenchError(
        f"{where} sets {path!r} for every method, and no method has such a setting.",
        similar_path(path, everywhere),
    )


def follows_published(row: BoardRow, overrides: Mapping[str, Any]) -> bool:
    """Return whether a row takes its method's published settings; see `resolve_settings`."""
    published = overrides.get(AS_PUBLISHED, row.settings.get(AS_PUBLISHED, False))
    if not isinstance(published, bool):
        raise BenchError(f"{row.method}: as_published is true or false, not {published!r}.")
    return published


def resolve_settings(
    row: BoardRow,
    *,
    layers: Sequence[Layer],
    overrides: Mapping[str, Any],
) -> dict[str, Plain]:
    """Resolve a row's settings, every one of the method by dotted path.

    Args:
        row: The board's row.
        layers: Settings by method from the model card and the budget, each with its name.
        overrides: Values of `--set` for this method, by path; see `overrides_for`.

    Raises:
        BenchError: The method has no such setting, or the value is not valid for it.
    """
    method = plugins.method_class(row.method)
    board, options = flatten(row.settings), dict(overrides)
    sources: list[tuple[str, Mapping[str, Any]]] = []
    if follows_published(row, overrides):
        released = getattr(method, "AS_PUBLISHED", None)
        if released is None:
            raise BenchError(f"{row.method} has no published settings.", "Leave out as_published.")
        sources.append((f"{row.method}.AS_PUBLISHED", released))
    board.pop(AS_PUBLISHED, None)
    options.pop(AS_PUBLISHED, None)
    sources += [(where, settings.get(row.method, {})) for where, settings in layers]
    sources += [(f"row {row.name!r}", board), ("--set", options)]
    resolved = default_settings(method)
    for where, settings in sources:
        for path, value in settings.items():
            resolved[path] = check_setting(method, path, value, where)
    return resolved


def build_method(name: str, settings: Mapping[str, Plain]) -> Any:
    """Build a method with resolved settings, given by dotted path."""
    return build_settings(plugins.method_class(name), settings)


def overrides_for(
    method: str, overrides: Sequence[Override], methods: Iterable[str]
) -> dict[str, Any]:
    """Return the values of one method's `--set` options by path.

    A path that begins with no method's name is for all methods of the run that have the setting.

    Raises:
        BenchError: No method of the run has the setting, or the path names one that is not in it.
    """
    in_run = sorted(set(methods))
    values: dict[str, Any] = {}
    for override in overrides:
        first, dot, rest = override.path.partition(".")
        if dot and first in in_run:
            owners, path = [first], rest
        else:
            path = override.path
            if dot and not any(_has_field(name, first) for name in in_run):
                raise unknown("method in this run", first, in_run)
            owners = in_run if len(in_run) == 1 else _find_owners(path, in_run)
        if method in owners:
            values |= flatten({path: parse_value(override.text)})
    return values


def _find_owners(path: str, methods: Sequence[str]) -> list[str]:
    """Return the methods that have a setting."""
    classes = {name: plugins.method_class(name) for name in methods}
    owners = [
        name
        for name, cls in classes.items()
        if has_setting(cls, path) or (path == AS_PUBLISHED and hasattr(cls, "AS_PUBLISHED"))
    ]
    if not owners:
        raise BenchError(
            f"--set {path}=…: no method of this run has such a setting.",
            similar_path(path, {each for cls in classes.values() for each in setting_paths(cls)}),
        )
    return owners


def _has_field(method: str, name: str) -> bool:
    return name in {field.name for field in setting_fields(plugins.method_class(method))}
