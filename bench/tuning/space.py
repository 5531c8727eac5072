"""Search spaces: distributions of Ray Tune by setting, declared by a method or in a TOML file.

    SPACE = {"preference.beta": {"choice": [0.05, 0.1]}, "sft.learning_rate": {"loguniform": [1e-5, 1e-3]}}
    RESOURCE = "num_rounds"

A distribution is named as in `ray.tune` and takes its arguments; `randint` and its variants exclude
the upper end. The resource is the setting of which the ASHA scheduler gives a configuration little
at first.
"""  # noqa: E501 (an example on one line)

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from bench.config import plugins
from bench.config.fields import check_setting, default_settings, setting_paths, similar_path
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError
from bench.hashing import Plain

DIGITS = 3  # of a sampled float, so that it can be read and typed
NUM_ARGUMENTS = {"uniform": 2, "loguniform": 2, "randint": 2, "lograndint": 2}
NUM_ARGUMENTS |= {f"q{name}": 3 for name in NUM_ARGUMENTS}  # the third is the step


class Distribution(Card):
    """The distribution of one setting: exactly one of Ray Tune's, with its arguments."""

    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    uniform: tuple[float, ...] | None = None
    loguniform: tuple[float, ...] | None = None
    quniform: tuple[float, ...] | None = None
    qloguniform: tuple[float, ...] | None = None
    randint: tuple[int, ...] | None = None
    lograndint: tuple[int, ...] | None = None
    qrandint: tuple[int, ...] | None = None
    qlograndint: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Distribution:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        if self.name != "choice":
            if len(self.arguments) != NUM_ARGUMENTS[self.name]:
                raise ValueError(f"{self.name} takes {NUM_ARGUMENTS[self.name]} numbers")
            if not self.arguments[0] < self.arguments[1]:
                raise ValueError("the first number must be less than the second")
            if "log" in self.name and self.arguments[0] <= 0:
                raise ValueError(f"{self.name} needs numbers above 0")
        return self

    @property
    def name(self) -> str:
        """Its name in `ray.tune`."""
        (name,) = self.model_fields_set
        return name

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Its arguments; of `choice`, the values."""
        arguments: tuple[Any, ...] = getattr(self, self.name)
        return arguments

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that it can take and whose types are those of all."""
        return self.arguments if self.name == "choice" else self.arguments[:1]

    def to_tune(self) -> Any:
        """Return the Tune distribution."""
        from ray import tune

        sampler = getattr(tune, self.name)
        return sampler(list(self.arguments)) if self.name == "choice" else sampler(*self.arguments)

    def contains(self, value: Any) -> bool:
        """Return whether a value can be sampled."""
        return bool(self.to_tune().is_valid(value))

    def __str__(self) -> str:
        return f"{self.name} {list(self.arguments)}"


class Space(Card):
    """What a search varies.

    Attributes:
        space: Distributions by the setting's dotted path.
        resource: Path of the integer setting that the ASHA scheduler raises step by step; "" for
            full evaluations only.
        grace_period: The resource at a configuration's first evaluation.
        reduction_factor: About one of this many configurations continues, with this many times the
            resource.
    """

    space: dict[str, Distribution] = Field(min_length=1)
    resource: str = ""
    grace_period: int = Field(1, ge=1)
    reduction_factor: int = Field(3, ge=2)


def load_space(method: str, file: Path | None = None) -> Space:
    """Return the space of a file, or the one that a method declares.

    A file replaces the declared space; the resource is the method's unless the file names its own.

    Raises:
        BenchError: There is no space, or it does not fit the method.
    """
    cls = plugins.method_class(method)
    resource = getattr(cls, "RESOURCE", "")
    if file is not None:
        if not file.is_file():
            raise BenchError(f"There is no file {file}.", "It is a TOML file with a table [space].")
        where, content = str(file), {"resource": resource, **read_toml(file)}
        content["space"] = _flatten_space(content.get("space", {}))
    elif getattr(cls, "SPACE", None):
        where, content = f"{method}.SPACE", {"resource": resource, "space": cls.SPACE}
    else:
        raise BenchError(
            f"The method {method} declares no search space.",
            "Give one with --space FILE, or add SPACE to its class Method.",
        )
    space = check_card(content, Space, where)
    for path, distribution in space.space.items():
        for value in distribution.examples:
            check_setting(cls, path, value, where)
    if space.resource:
        _check_resource(space, cls, where)
    return space


def _flatten_space(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested tables, in which TOML puts dotted keys, up to the distributions."""
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        nested = isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values())
        flat |= _flatten_space(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _check_resource(space: Space, cls: type[Any], where: str) -> None:
    paths = setting_paths(cls)
    if space.resource not in paths:
        hint = similar_path(space.resource, paths)
        raise BenchError(f"{where}: there is no setting {space.resource!r}.", hint)
    if space.resource in space.space:
        raise BenchError(
            f"{where}: {space.resource} is the resource and cannot be searched as well.",
            'Remove one of them; resource = "" evaluates every configuration in full.',
        )
    if type(default_settings(cls)[space.resource]) is not int:
        raise BenchError(
            f"{where}: {space.resource} is not an integer, as a resource must be.",
            'Name another one, or write resource = "".',
        )


def round_settings(sampled: Mapping[str, Any]) -> dict[str, Plain]:
    """Round sampled floats to three significant digits."""
    return {
        path: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
        for path, value in sampled.items()
    }
