"""Cards of sentence encoders, and their files; no torch, so that a plan can key them.

A card lies in `bench/encoders/`, or in `encoders/` of a folder of $BENCH_PATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from bench.cards import RawFile
from bench.config import Card, check_card, read_toml
from bench.data.assets import fetch
from bench.errors import unknown
from bench.plugins import card_paths
from bench.records import digest

ROOM = "encoders"
Role = Literal["config", "tokenizer", "weights"]
ROLES: tuple[Role, ...] = ("config", "tokenizer", "weights")


class EncoderCard(Card):
    """A sentence encoder.

    Attributes:
        kind: "transformer", whose last hidden states are averaged over the tokens; or "trigrams",
            counts of letter triples that need no files, for checks that nothing is learnt from.
        max_length: Tokens of a text that are read, the special ones included.
        config: Keys of the configuration file that this encoder has otherwise.
        files: The configuration, the tokenizer (`tokenizer.json`) and the weights (safetensors, or
            an ONNX export of a BERT), each with its checksum; none for trigrams.
    """

    kind: Literal["transformer", "trigrams"] = "transformer"

    title: str
    description: str
    licence: str
    homepage: str
    max_length: int = Field(ge=3)
    config: dict[str, int] = {}
    files: dict[Role, RawFile] = {}

    @model_validator(mode="after")
    def _whole(self) -> EncoderCard:
        if self.kind == "trigrams":
            if self.files or self.config:
                raise ValueError("trigrams have neither files nor a config")
            return self
        missing = [role for role in ROLES if role not in self.files]
        if missing:
            raise ValueError(f"files.{missing[0]} is missing")
        if any(file.sha256 is None for file in self.files.values()):
            raise ValueError("every file of an encoder needs its sha256, for it stands in the keys")
        return self


def encoder_names() -> list[str]:
    """List the names of all encoders that have a card."""
    return sorted(card_paths(ROOM))


def encoder_card(name: str) -> EncoderCard:
    """Load and check the card of a sentence encoder.

    Raises:
        BenchError: There is no such card, or it is not as it must be.
    """
    paths = card_paths(ROOM)
    if name not in paths:
        raise unknown("encoder", name, paths)
    return check_card(read_toml(paths[name]), EncoderCard, str(paths[name]))


def encoder_checksums(name: str) -> dict[str, str]:
    """Return what decides an encoder's vectors, for keys; no file and no network is touched.

    Returns:
        The sha256 of each file by role, and under "settings" that of the card's own settings.
    """
    card = encoder_card(name)
    settings: dict[str, Any] = {
        "kind": card.kind,
        "max_length": card.max_length,
        "config": card.config,
    }
    return {
        **{role: str(file.sha256) for role, file in card.files.items()},
        "settings": digest(settings),
    }


def encoder_files(
    name: str, *, offline: bool, data_dir: Path | None = None
) -> tuple[EncoderCard, dict[Role, Path]]:
    """Return an encoder's card and its checked files, fetched where they are not at hand.

    Args:
        name: The card's name.
        offline: Whether the network must not be touched.
        data_dir: The user's own files. Only its subfolder with the encoder's name is looked at:
            every other model has a `config.json`, too.

    Raises:
        BenchError: There is no such card, or a file cannot be had.
    """
    card = encoder_card(name)
    own = None if data_dir is None else data_dir / name
    return card, {
        role: fetch(
            card.files[role],
            data_dir=own if own is not None and own.is_dir() else None,
            offline=offline,
            card_name=f"the encoder {name}",
            licence=card.licence,
            homepage=card.homepage,
        )
        for role in card.files
    }
