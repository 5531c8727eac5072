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
from collections.abc import Iterable, Mapping
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


def setting_type(settings: type, path: str) -> str:
    """Return the type of a setting as it is written in its dataclass."""
    owner = _find_setting(settings, path)
    assert owner is not None
    cls, name, _ = owner
    return next(str(field.type) for field in dataclasses.fields(cls) if field.name == name)


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
            checked = _adapter(instance.__class__, field.name).validate_python(value, strict=True)
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
def field_types(settings: Any) -> dict[str, Any]:
    """Return the declared types of a dataclass's fields, with their ranges."""
    return typing.get_type_hints(settings, include_extras=True)


@cache
def _adapter(settings: Any, name: str) -> TypeAdapter[Any]:
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


@cache
def describe_settings(settings: type) -> dict[str, str]:
    """Return the sentence about each setting by path; empty where there is none."""
    described: dict[str, str] = {}
    sentences = _field_sentences(settings)
    for field in setting_fields(settings):
        declared = field_types(settings)[field.name]
        if isinstance(declared, type) and dataclasses.is_dataclass(declared):
            inner = describe_settings(declared)
            described |= {f"{field.name}.{path}": text for path, text in inner.items()}
        else:
            described[field.name] = sentences.get(field.name, "")
    return described


def _field_sentences(settings: type) -> dict[str, str]:
    """Read the string literals below the fields of a dataclass and of its bases."""
    sentences: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        name = ""
        for node in definition.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
            elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                sentences[name] = " ".join(str(node.value.value).split())
                name = ""
            else:
                name = ""
    return sentences
