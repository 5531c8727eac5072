"""Configs: one frozen dataclass per stage kind, with everything that decides the stage's artifact.

A config is declared next to the function that composes its stage, is a field of the methods that
use it, and is what the worker's `run(job, config, inputs)` receives. Ordinary fields are settings
(`--set sprec.sft.learning_rate=1e-4`). Fields declared by `plan_field` are filled in by plans:
seeds, checksums, properties of the data and the backbone, and what is the idea of one method only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic import NonNegativeInt as NonNegativeInt
from pydantic import PositiveInt as PositiveInt

from bench.config.fields import SETTING, check_fields
from bench.hashing import Plain

FUNCTION = "function"

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FunctionReference = Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
"""A function by name, "module:function": of a method's own module, or of one of `bench`."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configs: checks every field against its declared type, choices and range.

    Raises:
        BenchError: A value is of another type, none of the choices or out of range.
    """

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)

    @property
    def functions(self) -> tuple[str, ...]:
        """References "module:function" among the values; their code enters the stage's key."""
        references: list[str] = []
        for field in dataclasses.fields(self):
            if field.metadata.get(FUNCTION):
                value = getattr(self, field.name)
                references += [value] if isinstance(value, str) else value
        return tuple(reference for reference in references if ":" in reference)


def plan_field(default: Any = dataclasses.MISSING, **options: Any) -> Any:
    """Declare a field that plans fill in and users cannot set; options are those of `field`."""
    return dataclasses.field(default=default, metadata={SETTING: False}, **options)


def function_field(default: str | tuple[str, ...] = "", *, setting: bool = True) -> Any:
    """Declare a field that may name functions, whose code then enters the stage's key."""
    return dataclasses.field(default=default, metadata={SETTING: setting, FUNCTION: True})


def to_plain(value: Any) -> Plain:
    """Write a config, and what it holds, as mappings, lists and plain values."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {name: to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    plain: Plain = value
    return plain
