"""A method's settings: who sets them, in which order, and what they end up as.

Later over earlier: the method's defaults, its `as_published`, the model card, the budget, the
board's row, `--set`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.config import plugins
from bench.config.backbone_card import ModelCard
from bench.config.cards import BoardRow, Budget
from bench.config.toml import Override, check_setting, parse_value, setting_names
from bench.errors import BenchError, unknown
from bench.hashing import Plain

AS_PUBLISHED = "as_published"

Layer = tuple[str, Mapping[str, Mapping[str, Any]]]
"""Where settings come from, and the settings by method."""


def setting_layers(
    methods: Iterable[str],
    *,
    model: tuple[str, ModelCard] | None,
    budget: tuple[str, Budget],
) -> list[Layer]:
    """List what a model card and a budget set, the weaker first.

    A setting for every method reaches those that have it.

    Raises:
        BenchError: No method at all has such a setting.
    """
    layers: list[Layer] = []
    chosen = sorted(set(methods))
    if model is not None:
        name, card = model
        layers.append((f"model {name}", _spread(card.every, chosen, f"model {name}")))
        layers.append((f"model {name}", card.methods))
    name, spent = budget
    where = f"budget {name}"
    layers.append((where, _spread(spent.every, chosen, where)))
    if model is not None:
        layers.append((where, _spread(spent.tuning.get(model[1].tuning, {}), chosen, where)))
    layers.append((where, spent.methods))
    return layers


def _spread(
    every: Mapping[str, Any], methods: Sequence[str], where: str
) -> dict[str, dict[str, Any]]:
    known = {name: set(setting_names(plugins.method_class(name))) for name in methods}
    strange = set(every) - set().union(*known.values())
    if strange:
        everywhere = {name for method in plugins.method_names() for name in _names(method)}
        for name in sorted(strange - everywhere):
            raise BenchError(
                f"{where} sets {name!r} for every method, and none has such a setting.",
                unknown("setting", name, everywhere).hint,
            )
    return {
        method: {name: value for name, value in every.items() if name in names}
        for method, names in known.items()
    }


def _names(method: str) -> Iterable[str]:
    try:
        return setting_names(plugins.method_class(method))
    except BenchError:  # a broken plug-in is not this run's affair
        return ()


def resolve_settings(
    row: BoardRow,
    *,
    layers: Sequence[Layer],
    overrides: Sequence[Override],
) -> dict[str, Plain]:
    """Resolve a row's settings.

    Args:
        row: The board's row.
        layers: Settings by method from the model card and the budget, each with its name.
        overrides: What `--set` gave for this method.

    Raises:
        BenchError: For a name or a type that the method does not know.
    """
    method = plugins.method_class(row.method)
    board = dict(row.settings)
    typed = [(override.key, parse_value(override.text)) for override in overrides]
    published = board.pop(AS_PUBLISHED, False)
    published = dict(typed).get(AS_PUBLISHED, published)
    if not isinstance(published, bool):
        raise BenchError(f"{row.method}: as_published is true or false, not {published!r}.")
    resolved: dict[str, Plain] = dataclasses.asdict(method())
    sources: list[tuple[str, Iterable[tuple[str, Any]]]] = []
    if published:
        released = getattr(method, "AS_PUBLISHED", None)
        if released is None:
            raise BenchError(
                f"{row.method} has no settings of its own for as_published.", "Leave it out."
            )
        sources.append((f"{row.method}.AS_PUBLISHED", released.items()))
    sources += [(where, settings.get(row.method, {}).items()) for where, settings in layers]
    sources += [(f"row {row.name!r}", board.items())]
    sources += [("--set", [(key, value) for key, value in typed if key != AS_PUBLISHED])]
    for where, settings in sources:
        for name, value in settings:
            resolved[name] = check_setting(method, name, value, where)
    return resolved


def overrides_for(
    method: str, overrides: Sequence[Override], methods: Iterable[str]
) -> list[Override]:
    """Pick the overrides of one method; one without a method needs a run of a single method.

    Raises:
        BenchError: Where an override names a method that is not in the run.
    """
    known = sorted(set(methods))
    for override in overrides:
        if override.method is None and len(known) > 1:
            raise BenchError(
                f"--set {override.key}=… does not say which method it is for.",
                f"Write --set METHOD.{override.key}=…, METHOD one of {', '.join(known)}.",
            )
        if override.method is not None and override.method not in known:
            raise unknown("method in this run", override.method, known)
    return [override for override in overrides if override.method in (None, method)]


def settings_table(method: str) -> list[tuple[str, Plain]]:
    """List a method's settings with their defaults, for `bench show`."""
    cls = plugins.method_class(method)
    defaults = dataclasses.asdict(cls())
    return [(name, defaults[name]) for name in setting_names(cls)]
