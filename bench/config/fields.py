"""Settings: the typed fields of a method's dataclass and of the configs it holds, by dotted path.

A field is described by the string literal below it, and checked by pydantic against its type: a
plain type, a `Literal`, or a number with a range.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import json
import textwrap
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.hashing import Plain

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


def describe_settings(settings: type) -> dict[str, tuple[str, str]]:
    """Return type and sentence of each setting by path; the sentence may be empty."""
    return {
        path: (str(field.type), _read_sentences(owner).get(field.name, ""))
        for path, owner, field in _iterate_settings(settings)
    }


@cache
def _read_sentences(settings: type) -> dict[str, str]:
    """Read the string literals below the fields of a dataclass and of its bases."""
    sentences: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        for node, literal in zip(definition.body, definition.body[1:], strict=False):
            match node, literal:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(text)):
                    sentences[name] = " ".join(str(text).split())
    return sentences


def setting_fields(settings: type) -> list[dataclasses.Field[Any]]:
    """List the fields of a dataclass that users can set."""
    return [field for field in dataclasses.fields(settings) if field.metadata.get(SETTING, True)]


def setting_paths(settings: type) -> list[str]:
    """List the paths of all settings of a dataclass; that of a free mapping stands for its keys."""
    return list(_setting_types(settings))


@cache
def _setting_types(settings: Any) -> dict[str, Any]:
    """Return the declared type of each setting, with its range, by path."""
    leaves = _iterate_settings(settings)
    return {path: field_types(owner)[field.name] for path, owner, field in leaves}


def _iterate_settings(settings: Any) -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Yield the path of each setting, the dataclass that declares it, and its field."""
    for field in setting_fields(settings):
        declared = field_types(settings)[field.name]
        if dataclasses.is_dataclass(declared):
            for path, owner, inner in _iterate_settings(declared):
                yield f"{field.name}.{path}", owner, inner
        else:
            yield field.name, settings, field


def has_setting(settings: type, path: str) -> bool:
    """Return whether a dataclass has a setting of this path."""
    return path in _setting_types(settings) or _is_mapping_key(settings, path)


def _is_mapping_key(settings: type, path: str) -> bool:
    types = _setting_types(settings)
    parts = path.split(".")
    prefixes = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(typing.get_origin(types.get(prefix)) is Mapping for prefix in prefixes)


def check_setting(settings: type, path: str, value: Any, where: str) -> Plain:
    """Check one setting's path and value against a method's dataclass and return its value.

    Integers are accepted where a float is declared; nothing else is converted.

    Raises:
        BenchError: The path is unknown (with the nearest one as a hint), or the value is of another
            type, none of the choices or out of range.
    """
    if _is_mapping_key(settings, path):
        return typing.cast("Plain", value)
    declared = _setting_types(settings).get(path)
    if declared is None:
        raise BenchError(
            f"{where}: there is no setting {path!r}.", similar_path(path, setting_paths(settings))
        )
    checked: Plain = _validate(declared, value, f"{where}: {path}", as_json=True)
    return checked


def build_settings(settings: Any, values: Mapping[str, Plain]) -> Any:
    """Build a dataclass, or change an instance, from checked values by dotted path; others stay."""
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


def similar_path(path: str, paths: Iterable[str]) -> str:
    """Name the setting most similar to an unknown path; equal last parts count most.

    Example:
        >>> similar_path("sft_learning_rate", ["beta", "sft.learning_rate"])
        'Did you mean sft.learning_rate?'
    """
    choices = sorted(paths)
    if not choices:
        return "There are no settings."
    dotted = path.replace(".", "_")

    def similarity(other: str) -> float:
        name = other.replace(".", "_")
        ratio = difflib.SequenceMatcher(None, dotted, name).ratio()
        return ratio + (name.endswith(f"_{dotted}") or dotted.endswith(f"_{name}"))

    best = max(choices, key=similarity)
    if similarity(best) >= 0.6:
        return f"Did you mean {best}?"
    return f"Settings are {', '.join(choices)}."


def check_fields(instance: Any, name: str) -> None:
    """Check every field of a frozen dataclass against its type, and write integers as floats.

    Raises:
        BenchError: A value is of another type, none of the choices or out of range.
    """
    declared = field_types(instance.__class__)
    for field in dataclasses.fields(instance):
        value, where = getattr(instance, field.name), f"{name}: {field.name}"
        object.__setattr__(instance, field.name, _validate(declared[field.name], value, where))


def _validate(declared: Any, value: Any, where: str, *, as_json: bool = False) -> Any:
    """Check a value strictly against a type, as it is or as JSON, whose lists become tuples."""
    adapter = _adapter(declared)
    try:
        if as_json:
            return adapter.validate_json(json.dumps(value), strict=True)
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        messages = " or ".join(dict.fromkeys(mistake["msg"] for mistake in error.errors()))
        hint = messages.removeprefix("Value error, ").rstrip(".") + "."
        raise BenchError(f"{where} = {value!r} is not valid.", hint) from error


@cache
def field_types(settings: Any) -> dict[str, Any]:
    """Return the declared types of a dataclass's fields, with their ranges."""
    return typing.get_type_hints(settings, include_extras=True)


@cache
def _adapter(declared: Any) -> TypeAdapter[Any]:
    return TypeAdapter(declared)
