"""A model without a card, `ORG/NAME[@REV]` or a folder: its card is inferred and written down.

The cards are in `.bench/models/` of the working directory, where every command finds them. They pin
what was used: the commit that a branch of the hub was at when it was first named, or the checksum
of the folder's files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.config.backbone_card import LINEAR_LAYERS, ModelCard
from bench.config.plugins import card_paths
from bench.config.search_path import INFERRED_MODELS
from bench.config.toml import check_card
from bench.data.assets import folder_checksum
from bench.data.hub_files import TEXTS, fetch
from bench.errors import BenchError
from bench.files import write_atomic

ADAPTERS_FROM = 1e8
"""Models with at least this many parameters get adapters; smaller ones are tuned in full."""
CONTEXT = 512
DIGITS = 8
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")


def name_model(text: str, *, offline: bool = False) -> str:
    """Return the name of the card of a backbone, inferred if it is a folder or a hub's repository.

    Args:
        text: Name of a card, a folder, or `ORG/NAME[@REV]` on the hub; each with `:CHANGE,…`. A
            card comes before a folder of its name, and a folder before a repository.
        offline: Whether to never use the network.

    Raises:
        BenchError: It is no causal language model with a tokenizer, or cannot be fetched.
    """
    base, separator, changes = text.partition(":")
    if base in card_paths("models"):
        return text
    folder = Path(base).expanduser()
    if folder.is_dir():
        name = _card_of_folder(folder.resolve())
    elif HUB_NAME.fullmatch(base) and not base.startswith("."):
        name = _card_of_repository(base, offline=offline)
    elif "/" in base:
        raise BenchError(f"There is no folder {base}.", "Give a model's folder, or ORG/NAME.")
    else:
        return text  # whoever loads the card lists those that exist
    return f"{name}{separator}{changes}"


def _card_of_folder(folder: Path) -> str:
    checksum = folder_checksum(folder)
    name = _slug(f"{folder.name}-{checksum[:DIGITS]}")
    source = {"weights": "folder", "folder": str(folder), "checksum": checksum}
    path = INFERRED_MODELS / f"{name}.toml"
    if not path.is_file() or json.dumps(str(folder)) not in path.read_text():
        _write(path, f"{folder.name} (folder)", source, "not stated", _inspect(folder, str(folder)))
    return name


def _card_of_repository(text: str, *, offline: bool) -> str:
    name, (repository, _, revision) = _slug(text), text.partition("@")
    path = INFERRED_MODELS / f"{name}.toml"
    if not path.is_file():
        folder = fetch(repository, revision or "main", text, offline=offline, patterns=TEXTS)
        source = {"weights": "hub", "repository": repository, "revision": folder.name}
        page = f"https://huggingface.co/{repository}"
        title = f"{repository}@{folder.name[:DIGITS]}"
        _write(path, title, source | {"homepage": page}, f"see {page}", _inspect(folder, text))
    return name


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _inspect(folder: Path, name: str) -> dict[str, Any]:
    # Imported late, with torch: a card's own name should not cost seconds.
    facts: dict[str, Any] = import_module("bench.models.lm.backbone").inspect_model(folder, name)
    return facts


def _write(
    path: Path, title: str, source: dict[str, str], license_: str, facts: dict[str, Any]
) -> None:
    """Write a card, after checking it."""
    template = "with" if facts["chat_template"] else "without"
    tuning = "lora" if facts["parameters"] >= ADAPTERS_FROM else "full"
    card: dict[str, Any] = {
        "title": title,
        "description": f"Inferred: {facts['architecture']}, {template} a chat template.",
        "license": license_,
        **source,
        "parameters": facts["parameters"],
        "tuning": tuning,
        "dtype": facts["dtype"],
        "context": min(CONTEXT, facts["max_length"] or CONTEXT),
    }
    if tuning == "lora" and not set(LINEAR_LAYERS).issubset(facts["linear"]):
        card["lora"] = {"targets": facts["linear"]}
    check_card(card, ModelCard, str(path))
    write_atomic(path, "".join(_toml_lines(card.items())).encode())


def _toml_lines(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in items:  # strings, numbers and lists of strings in JSON are TOML
        if isinstance(value, dict):
            yield f"\n[{key}]\n"
            yield from _toml_lines(value.items())
        else:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
