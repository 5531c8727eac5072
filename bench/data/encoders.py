"""Cards of sentence encoders, and their files; no torch, so that a plan can key them.

A card lies in `bench/presets/encoders/`, or in `encoders/` of a folder of $BENCH_PATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.encoder_card import EncoderCard as EncoderCard
from bench.config.encoder_card import Role
from bench.config.plugins import card_paths
from bench.config.scoped_cache import once
from bench.config.toml import check_card, read_toml
from bench.data.assets import fetch
from bench.errors import unknown
from bench.hashing import digest

ROOM = "encoders"


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


@once
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
            license=card.license,
            homepage=card.homepage,
        )
        for role in card.files
    }
