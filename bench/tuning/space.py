"""What a search may change: declared beside a method's settings, or in a TOML file.

    SPACE = {"beta": {"log_uniform": [0.01, 1.0]}, "rows": {"choices": [512, 2048]}}
    RESOURCE = "num_rounds"

A setting is drawn from `choices`, between two numbers `uniform`ly or `log_uniform`ly, or from the
whole numbers between two `integers`, both among them. The resource is the setting that a
configuration is given little of at first (see `bench.tuning.asha`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from bench.config import plugins
from bench.config.fields import check_setting, default_settings, setting_paths, similar_path
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError
from bench.hashing import Plain, canonical_json, derive_seed

LISTED = 4096  # spaces of at most so many configurations are listed, not sampled
PATIENCE = 1000  # draws in a row that may repeat an earlier one
DIGITS = 3  # of a drawn number

KINDS = ("choices", "uniform", "log_uniform", "integers")


class Domain(Card):
    """Where one setting is drawn from: exactly one of the four."""

    choices: tuple[Any, ...] | None = Field(None, min_length=1)
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Domain:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(KINDS)} says what is drawn")
        for ends in (self.uniform, self.log_uniform, self.integers):
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError("the first number must be less than the second")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError("log_uniform needs numbers above 0")
        return self

    @property
    def listed(self) -> tuple[Any, ...] | None:
        """All values, where they can be listed."""
        if self.integers is not None:
            low, high = self.integers
            return tuple(range(low, high + 1)) if high - low < LISTED else None
        return self.choices

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values whose types are those of all."""
        return self.choices or self.uniform or self.log_uniform or self.integers or ()

    def draw(self, source: np.random.Generator) -> Any:
        """Draw a value; numbers have three digits, so that they can be read and typed."""
        if self.choices is not None:
            return self.choices[source.integers(len(self.choices))]
        if self.integers is not None:
            return int(source.integers(self.integers[0], self.integers[1], endpoint=True))
        ends = self.uniform or self.log_uniform
        assert ends is not None
        if self.uniform is not None:
            drawn = source.uniform(*ends)
        else:
            drawn = math.exp(source.uniform(math.log(ends[0]), math.log(ends[1])))
        return min(max(float(f"{drawn:.{DIGITS}g}"), ends[0]), ends[1])

    def __str__(self) -> str:
        kind = next(kind for kind in KINDS if getattr(self, kind) is not None)
        return f"{kind} {list(getattr(self, kind))}"


class Space(Card):
    """What a search may change.

    Attributes:
        space: Domains by setting.
        resource: The whole-number setting that early looks cut down; nothing for no early looks.
        least: Of the resource, at the first look.
        factor: Of every so many configurations about one goes on, with so many times the resource.
    """

    space: dict[str, Domain] = Field(min_length=1)
    resource: str = ""
    least: int = Field(1, ge=1)
    factor: int = Field(3, ge=2)


def space_of(method: str, file: Path | None = None) -> Space:
    """Return the space of a file, or the one that a method declares.

    A file replaces the declared space; the resource is the method's unless the file names its own.

    Raises:
        BenchError: There is none, or it does not fit the method.
    """
    cls = plugins.method_class(method)
    resource = getattr(cls, "RESOURCE", "")
    if file is not None:
        if not file.is_file():
            raise BenchError(f"There is no file {file}.", "It is a TOML file with a table [space].")
        where, content = str(file), {"resource": resource, **read_toml(file)}
    elif getattr(cls, "SPACE", None):
        where, content = f"{method}.SPACE", {"resource": resource, "space": cls.SPACE}
    else:
        raise BenchError(
            f"The method {method} declares no space.",
            "Write one: --space FILE, or SPACE beside its settings.",
        )
    space = check_card(content, Space, where)
    for name, domain in space.space.items():
        for value in domain.ends:
            check_setting(cls, name, value, where)
    _check_resource(space, cls, where)
    return space


def _check_resource(space: Space, cls: type[Any], where: str) -> None:
    if not space.resource:
        return
    names = setting_paths(cls)
    if space.resource not in names:
        hint = similar_path(space.resource, names)
        raise BenchError(f"{where}: there is no setting {space.resource!r}.", hint)
    if space.resource in space.space:
        raise BenchError(
            f"{where}: {space.resource} is the resource, and cannot be searched as well.",
            'Leave one out; resource = "" searches without early looks.',
        )
    if type(default_settings(cls)[space.resource]) is not int:
        raise BenchError(
            f"{where}: {space.resource} is no whole number, as a resource must be.",
            'Name another, or write resource = "".',
        )


def configurations(
    space: Space, num: int, *, seed: int, given: Mapping[str, Plain]
) -> list[dict[str, Any]]:
    """Draw what a search tries: first the settings as they are, then different ones at random.

    A larger number with the same seed begins with those of the smaller one.

    Args:
        space: What may change.
        num: How many; fewer come back where the space has no more.
        seed: Decides what is drawn.
        given: The settings as they are.

    Returns:
        For each configuration the settings that it changes; nothing for the first.
    """
    chosen: list[dict[str, Any]] = [{}]
    seen = {canonical_json({name: given[name] for name in space.space})}
    for drawn in _drawn(space, seed):
        if len(chosen) == num:
            break
        text = canonical_json(drawn)
        if text not in seen:
            seen.add(text)
            chosen.append(drawn)
    return chosen


def _drawn(space: Space, seed: int) -> Iterator[dict[str, Any]]:
    source = np.random.default_rng(derive_seed("tune", seed))
    names = sorted(space.space)
    listed = [space.space[name].listed for name in names]
    whole = [values for values in listed if values is not None]
    if len(whole) == len(names) and math.prod(map(len, whole)) <= LISTED:
        everything = list(itertools.product(*whole))
        for place in source.permutation(len(everything)):
            yield dict(zip(names, everything[place], strict=True))
        return
    seen: set[str] = set()
    repeated = 0
    while repeated < PATIENCE:
        drawn = {name: space.space[name].draw(source) for name in names}
        repeated = repeated + 1 if canonical_json(drawn) in seen else 0
        seen.add(canonical_json(drawn))
        yield drawn
