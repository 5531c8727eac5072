"""Text from outside: TOML files and `--set path=value`, read strictly."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from bench.config.search_path import MAX_CARD_BYTES
from bench.errors import BenchError, describe_exception, unknown


class Card(BaseModel):
    """A TOML file's content; unknown keys are refused, values are never changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_homepage(address: str) -> str:
    if address and not re.match(r"https?://[^\s/@]+(/|$)", address):
        raise ValueError("a homepage begins with https:// and a host, without a user")
    return address


Homepage = Annotated[str, AfterValidator(_check_homepage)]
"""Address that pages link to, or "": other schemes than http could run code in a browser."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""A list of names; a single one may be written without brackets."""

CardType = TypeVar("CardType", bound=Card)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say in one sentence what is wrong with it."""
    try:
        if not path.is_file():  # a pipe would never end
            raise BenchError(f"{path} is no file that can be read.", "Remove it, or write a file.")
        if path.stat().st_size > MAX_CARD_BYTES:
            raise BenchError(f"{path} is too large for a card.", "Shorten it.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        reason = describe_exception(error)
        raise BenchError(f"{path} is not valid TOML: {reason}.", "Fix the file.") from error


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
        names = _fields_at(schema, mistake["loc"][:-1])
        return BenchError(f"{where}: unknown key {path!r}.", unknown("key", name, names).hint)
    if mistake["type"] == "missing":
        return BenchError(f"{where}: the key {path!r} is missing.", "Add it.")
    reason = mistake["msg"].removeprefix("Value error, ")
    is_table = isinstance(mistake["input"], dict)  # the reason says which of its keys
    hint = "Correct the file." if is_table else f"It is {mistake['input']!r}."
    return BenchError(f"{where}: {path or 'the card'}: {reason}.", hint)


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
        message = f"--set {text!r} is not of the form [METHOD.]PATH=VALUE."
        raise BenchError(message, "Example: --set sprec.sft.learning_rate=1e-4")
    return Override(path=path, text=value.strip())


def parse_value(text: str) -> Any:
    """Read a value as TOML would; what TOML does not know is a string.

    Example:
        >>> parse_value("3"), parse_value("true"), parse_value("[1, 2]"), parse_value("linear")
        (3, True, [1, 2], 'linear')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
