"""Text from outside: TOML files and `--set path=value`, read strictly; typed dataclass fields."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bench.errors import BenchError, unknown
from bench.hashing import Plain


class Card(BaseModel):
    """A TOML file's content; unknown keys are refused, values are never changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


CardType = TypeVar("CardType", bound=Card)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say in one sentence what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not valid TOML: {error}.", "Mend the file.") from error


def check_card(content: Mapping[str, Any], schema: type[CardType], where: str) -> CardType:
    """Check a card against its schema; the first mistake becomes the error, with the key's path."""
    try:
        return schema.model_validate(dict(content))
    except ValidationError as error:
        raise _first_mistake(error, schema, where) from error


def _first_mistake(error: ValidationError, schema: type[Card], where: str) -> BenchError:
    mistake = error.errors()[0]
    path = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        name = str(mistake["loc"][-1])
        known = _fields_at(schema, mistake["loc"][:-1])
        return BenchError(f"{where}: unknown key {path!r}.", unknown("key", name, known).hint)
    if mistake["type"] == "missing":
        return BenchError(f"{where}: the key {path!r} is missing.", "Add it.")
    reason = mistake["msg"].removeprefix("Value error, ")
    return BenchError(f"{where}: {path or 'the card'}: {reason}.", f"It is {mistake['input']!r}.")


def _fields_at(schema: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    """Follow a key path through nested card schemas and list the keys known there."""
    current: type[BaseModel] = schema
    for part in path:
        if not isinstance(part, str) or part not in current.model_fields:
            continue
        for candidate in _types_within(current.model_fields[part].annotation):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                current = candidate
    return current.model_fields


def _types_within(annotation: object) -> Iterable[object]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _types_within(inner)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Override:
    """One `--set [METHOD.]PATH=VALUE`, its value still text.

    Whether the path begins with a method's name is decided by
    `bench.config.settings.overrides_for`.
    """

    path: str
    text: str


def parse_override(text: str) -> Override:
    """Parse `num_rounds=3` or `sprec.sft.learning_rate=1e-4`.

    Raises:
        BenchError: There is no equals sign, or a part of the path is empty.
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        raise BenchError(
            f"--set {text!r} is not of the form [METHOD.]PATH=VALUE.",
            "Example: --set sprec.sft.learning_rate=1e-4",
        )
    return Override(path=path, text=value.strip())


def parse_value(text: str) -> Any:
    """Read a value as TOML would; what TOML does not know is a string.

    Example:
        >>> parse_value("3"), parse_value("true"), parse_value("[1, 2]"), parse_value("linear")
        (3, True, [1, 2], 'linear')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# --- settings: the fields of a method's dataclass and of the configs it holds, by dotted path -----

SETTING = "setting"
"""Metadata key of a dataclass field; False for a field that plans fill in and users cannot set."""


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn nested tables into dotted paths.

    Example:
        >>> flatten({"sft": {"learning_rate": 1e-4}, "num_rounds": 3})
        {'sft.learning_rate': 0.0001, 'num_rounds': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{path}": inner for path, inner in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def default_settings(settings: Any) -> dict[str, Plain]:
    """Return the settings of a dataclass, or of an instance of one, with their values by path."""
    instance = settings() if isinstance(settings, type) else settings
    values: dict[str, Plain] = {}
    for field in setting_fields(type(instance)):
        value = getattr(instance, field.name)
        if dataclasses.is_dataclass(value):
            value = default_settings(value)
        if isinstance(value, Mapping):
            values |= flatten({field.name: value})
        else:
            values[field.name] = value
    return values


def setting_fields(settings: type) -> list[dataclasses.Field[Any]]:
    """List the fields of a dataclass that users can set."""
    return [field for field in dataclasses.fields(settings) if field.metadata.get(SETTING, True)]


def setting_paths(settings: type) -> list[str]:
    """List the paths of all settings of a dataclass; that of a free mapping stands for its keys."""
    paths = []
    for field in setting_fields(settings):
        declared = field_types(settings)[field.name]
        if dataclasses.is_dataclass(declared):
            assert isinstance(declared, type)
            paths += [f"{field.name}.{path}" for path in setting_paths(declared)]
        else:
            paths.append(field.name)
    return paths


def has_setting(settings: type, path: str) -> bool:
    """Tell whether a dataclass has a setting of this path."""
    return _find_setting(settings, path) is not None


def check_setting(settings: type, path: str, value: Any, where: str) -> Plain:
    """Check one setting's path and value against a method's dataclass and return its value.

    Integers are accepted where a float is declared; nothing else is converted.

    Raises:
        BenchError: The path is unknown (with the nearest one as a hint), or the value is of another
            type, none of the choices or out of range.
    """
    owner = _find_setting(settings, path)
    if owner is None:
        raise BenchError(
            f"{where}: there is no setting {path!r}.", similar_path(path, setting_paths(settings))
        )
    cls, name, is_key = owner
    if is_key:
        return typing.cast("Plain", value)
    try:
        checked: Plain = _adapter(cls, name).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise BenchError(
            f"{where}: {path} = {value!r} is not valid.", spell_mistake(error)
        ) from error
    return checked


def build_settings(settings: Any, values: Mapping[str, Plain]) -> Any:
    """Build a dataclass from values by path; paths that are not given keep their values.

    Args:
        settings: A dataclass, whose fields have defaults, or an instance of one.
        values: Checked values by dotted path.
    """
    instance = settings() if isinstance(settings, type) else settings
    by_field: dict[str, dict[str, Plain]] = {}
    changes: dict[str, Any] = {}
    for path, value in values.items():
        name, dot, rest = path.partition(".")
        if dot:
            by_field.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    for name, inner in by_field.items():
        held = getattr(instance, name)
        changes[name] = (
            build_settings(held, inner) if dataclasses.is_dataclass(held) else {**held, **inner}
        )
    return dataclasses.replace(instance, **changes)


def similar_path(path: str, known: Iterable[str]) -> str:
    """Name the setting most similar to an unknown path; equal last parts count most.

    Example:
        >>> similar_path("sft_learning_rate", ["beta", "sft.learning_rate"])
        'Did you mean sft.learning_rate?'
    """
    paths = sorted(known)
    if not paths:
        return "This method has no settings."
    dotted = path.replace(".", "_")

    def similarity(other: str) -> float:
        spelled = other.replace(".", "_")
        ratio = difflib.SequenceMatcher(None, dotted, spelled).ratio()
        return ratio + (spelled.endswith(f"_{dotted}") or dotted.endswith(f"_{spelled}"))

    best = max(paths, key=similarity)
    if similarity(best) >= 0.6:
        return f"Did you mean {best}?"
    return f"Settings are {', '.join(paths)}."


def check_fields(instance: Any, name: str) -> None:
    """Check every field of a frozen dataclass against its type, and write integers as floats.

    Raises:
        BenchError: A value is of another type, none of the choices or out of range.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        try:
            checked = _adapter(type(instance), field.name).validate_python(value, strict=True)
        except ValidationError as error:
            raise BenchError(
                f"{name}: {field.name} = {value!r} is not valid.", spell_mistake(error)
            ) from error
        object.__setattr__(instance, field.name, checked)


def spell_mistake(error: ValidationError) -> str:
    """Write what pydantic found wrong as one sentence."""
    messages = dict.fromkeys(mistake["msg"] for mistake in error.errors())
    return " or ".join(messages).removeprefix("Value error, ").rstrip(".") + "."


@cache
def field_types(settings: type) -> dict[str, Any]:
    """Return the declared types of a dataclass's fields, with their ranges."""
    return typing.get_type_hints(settings, include_extras=True)


@cache
def _adapter(settings: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(field_types(settings)[name])


def _find_setting(settings: type, path: str) -> tuple[type, str, bool] | None:
    """Return the dataclass and field of a path, and whether the path names a key of a mapping."""
    name, dot, rest = path.partition(".")
    if name not in {field.name for field in setting_fields(settings)}:
        return None
    declared = field_types(settings)[name]
    if isinstance(declared, type) and dataclasses.is_dataclass(declared):
        return _find_setting(declared, rest) if dot else None
    if not dot:
        return settings, name, False
    is_mapping = typing.get_origin(declared) is Mapping
    return (settings, name, True) if is_mapping else None
