"""Discovery and loading of methods and cards.

Folders are searched in this order, and the first file of a name wins: the installed package, the
checkout, then for each folder of $BENCH_PATH its `methods/`, `datasets/`, `leaderboards/`,
`models/`, and the folder itself. The kind of a file directly in that folder is recognized by its
content: a method's module defines a class Method, a card has the key that only its kind has.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bench.config.backbone_card import EncoderCard, ModelCard, Variant
from bench.config.cards import BoardCard, Budget, DatasetCard, Split, SuiteCard
from bench.config.scoped_cache import once
from bench.config.search_path import PRESETS, find_files, folders, read_start, unknown_plugin
from bench.config.toml import check_card, read_toml
from bench.errors import BenchError, describe_exception, unknown
from bench.foreign_code import foreign_code

ENTRY_POINTS = "bench.methods"

CARDS: Mapping[str, type[Any]] = {
    "datasets": DatasetCard,
    "models": ModelCard,
    "leaderboards": BoardCard,
    "suites": SuiteCard,
    "budgets": Budget,
    "encoders": EncoderCard,
}
"""What the cards of each kind are checked against."""

MARKS = {"datasets": "reader", "leaderboards": "rows", "models": "weights", "suites": "boards"}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of `bench list`: a name with a sentence about it or an error."""

    name: str
    summary: str = ""
    error: str = ""


# --- methods ------------------------------------------------------------------------------------


def method_names() -> list[str]:
    """List the names of all method modules; nothing is imported."""
    return sorted(_method_files())


@once
def _method_files() -> dict[str, Path]:
    def is_method(file: Path) -> bool:
        return not file.stem.startswith("_") and (
            file.parent.name == "methods" or "class Method" in read_start(file)
        )

    return find_files(folders("methods"), "*.py", is_method)


def method_module(name: str) -> ModuleType:
    """Import a method's module as `bench.methods.<name>`, or an installed plug-in's entry point.

    Raises:
        BenchError: There is none, or its import fails.
    """
    package = importlib.import_module("bench.methods")
    package.__path__[:] = folders("methods")
    if name not in method_names():
        return _entry_point(name)
    module_name = f"bench.methods.{name}"
    if module_name not in sys.modules:
        importlib.invalidate_caches()
        try:
            with foreign_code(
                f"Importing the method {name!r}",
                f"The method {name!r} cannot be imported",
                "Fix its module in methods/ or on $BENCH_PATH.",
            ):
                return importlib.import_module(module_name)
        except BenchError:
            sys.modules.pop(module_name, None)  # so that it is refused again
            raise
    return sys.modules[module_name]


def _entry_point(name: str) -> ModuleType:
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise unknown_plugin("method", "methods", name, {*method_names(), *points})
    with foreign_code(
        f"Importing the entry point {name!r}", f"The entry point {name!r} cannot be imported"
    ):
        module = points[name].load()
    if not isinstance(module, ModuleType):
        raise BenchError(f"The entry point {name!r} is not a module.", "Name the module itself.")
    return module


def method_class(name: str) -> type[Any]:
    """Return a method's frozen dataclass of settings, its class `Method`.

    Raises:
        BenchError: The module has no such class, or it is not a frozen dataclass.
    """
    cls = getattr(method_module(name), "Method", None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        message = f"The method {name!r} has no dataclass named Method."
        raise BenchError(message, "See `bench new method NAME`.")
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise BenchError(f"The method {name!r} is not frozen.", "Write @dataclass(frozen=True).")
    if not callable(getattr(cls, "plan", None)):
        raise BenchError(f"The method {name!r} has no plan().", "See `bench new method NAME`.")
    return cls


def function(reference: str) -> Callable[..., Any]:
    """Resolve "module:function", of a method's module or of `bench` ("bench.…:function")."""
    module_name, _, name = reference.partition(":")
    is_bench = module_name.startswith("bench.")
    module = importlib.import_module(module_name) if is_bench else method_module(module_name)
    value = getattr(module, name, None)
    if not callable(value):
        raise unknown(f"function in {module_name}", name, vars(module))
    return cast("Callable[..., Any]", value)


# --- cards --------------------------------------------------------------------------------------


def card_paths(kind: str) -> dict[str, Path]:
    """Map the names of all cards of a kind ("datasets", "models", …) to their files."""
    own = (kind, Path(PRESETS.get(kind, kind)).name)

    def is_of_kind(file: Path) -> bool:
        return file.parent.name in own or _has_key(file, MARKS.get(kind))

    return find_files(folders(kind), "*.toml", is_of_kind)


def board_files(subfolder: str, ending: str = "toml") -> dict[str, Path]:
    """Map the names of the files in a subfolder of `leaderboards/` to their paths."""
    return find_files([Path(each) / subfolder for each in folders("leaderboards")], f"*.{ending}")


def _has_key(file: Path, key: str | None) -> bool:
    """Tell whether a TOML file has a key; a broken file counts, so that it is listed as broken."""
    try:
        return key in read_toml(file)
    except BenchError:
        return key is not None


def _load_card(kind: str, what: str, name: str) -> Any:
    paths = card_paths(kind)
    if name not in paths:
        raise unknown_plugin(what, kind, name, paths)
    return check_card(read_toml(paths[name]), CARDS[kind], str(paths[name]))


def dataset_card(name: str) -> DatasetCard:
    """Load and check the card of a data set: `CARD`, or `CARD:FIELD=VALUE,…` for another split.

    With another split there are no candidate lists, which have their own, and no expected samples.

    Raises:
        BenchError: There is no such card or field of `Split`, or a value is not valid for it.
    """
    base, *changes = re.split("[:,]", name)
    card: DatasetCard = _load_card("datasets", "data set", base)
    if not changes:
        return card
    pairs = (change.partition("=") for change in changes)
    content = card.split.model_dump() | {field: value for field, _, value in pairs}
    return card.model_copy(
        update={
            "title": f"{card.title} ({', '.join(changes)})",
            "split": check_card(content, Split, f"data set {name}"),
            "lists": None,
            "expected": {
                key: num
                for key, num in card.expected.items()
                if key not in ("samples", "train", "valid", "test")
            },
        }
    )


def model_card(name: str) -> ModelCard:
    """Load and check the card of a backbone model: `CARD`, or with changes `CARD:CHANGE,…`.

    A change is the name of a variant, or FIELD=VALUE for a field of `Variant`.

    Raises:
        BenchError: There is no such card or variant, or a value is not valid for it.
    """
    base, *changes = re.split("[:,]", name)
    card: ModelCard = _load_card("models", "model", base)
    content = card.model_dump()
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals and change not in card.variants:
            raise unknown(f"variant of {base}", change, card.variants)
        variant = (
            check_card({field: value}, Variant, f"model {name}")
            if equals
            else card.variants[change]
        )
        content |= variant.model_dump(exclude_none=True)
    return check_card(content, ModelCard, f"model {name}")


def board_card(name: str) -> BoardCard:
    """Load and check the card of a board."""
    return cast("BoardCard", _load_card("leaderboards", "board", name))


def suite_card(name: str) -> SuiteCard:
    """Load and check the card of a suite."""
    return cast("SuiteCard", _load_card("suites", "suite", name))


def budget_card(name: str) -> Budget:
    """Load and check a budget."""
    return cast("Budget", _load_card("budgets", "budget", name))


def encoder_card(name: str) -> EncoderCard:
    """Load and check the card of a sentence encoder."""
    return cast("EncoderCard", _load_card("encoders", "encoder", name))


# --- listing ------------------------------------------------------------------------------------


def list_methods() -> list[Listed]:
    """List all methods with the first line of their docstrings; a broken one with its error.

    Nothing is imported: one that never ends would end the listing.
    """
    files = _method_files()

    def summarize(name: str) -> str:
        path = files[name]
        if not path.is_file():
            raise BenchError(f"{path} is no file that can be read.")
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BenchError(f"{path} does not parse: {describe_exception(error)}.") from error
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "Method":
                return (ast.get_docstring(node) or "").split("\n")[0]
        raise BenchError(f"{path} has no dataclass named Method.")

    return _list_names(sorted(files), summarize)


def list_cards(kind: str) -> list[Listed]:
    """List all cards of a kind, one of `CARDS`; a broken one with its error."""
    paths = card_paths(kind)

    def summarize(name: str) -> str:
        card = check_card(read_toml(paths[name]), CARDS[kind], str(paths[name]))
        return str(getattr(card, "title", "") or card.description)

    return _list_names(sorted(paths), summarize)


def _list_names(names: Sequence[str], summarize: Callable[[str], str]) -> list[Listed]:
    lines = []
    for name in names:
        try:
            lines.append(Listed(name=name, summary=summarize(name)))
        except BenchError as error:
            lines.append(Listed(name=name, error=error.message))
    return lines
