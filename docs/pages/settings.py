"""Types and descriptions of a method's settings, from its dataclass and the configs it holds."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

from bench.config.fields import field_types, setting_fields


def describe_settings(settings: type) -> dict[str, tuple[str, str]]:
    """Return type and sentence of each setting by path; the sentence may be empty."""
    described: dict[str, tuple[str, str]] = {}
    sentences = _read_sentences(settings)
    for field in setting_fields(settings):
        declared = field_types(settings)[field.name]
        if isinstance(declared, type) and dataclasses.is_dataclass(declared):
            inner = describe_settings(declared)
            described |= {f"{field.name}.{path}": value for path, value in inner.items()}
        else:
            described[field.name] = (str(field.type), sentences.get(field.name, ""))
    return described


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
