"""Files of sentence encoders and what identifies them; no torch, so that plans can key them."""

from __future__ import annotations

from pathlib import Path

from bench.config.encoder_card import EncoderCard, Role
from bench.config.plugins import encoder_card
from bench.config.scoped_cache import once
from bench.data.assets import fetch
from bench.hashing import digest


@once
def encoder_checksums(name: str) -> dict[str, str]:
    """Return what decides an encoder's vectors, for keys; files and network are not used.

    Returns:
        The sha256 of each file by role, and under "settings" that of the card's own settings.
    """
    card = encoder_card(name)
    settings = card.model_dump(mode="json", include={"kind", "max_length", "config"})
    return {
        **{role: str(file.sha256) for role, file in card.files.items()},
        "settings": digest(settings),
    }


def encoder_files(
    name: str, *, offline: bool, data_dir: Path | None = None
) -> tuple[EncoderCard, dict[Role, Path]]:
    """Return an encoder's card and its checked files, downloaded if not available locally.

    Args:
        name: The card's name.
        offline: Whether the network must not be used.
        data_dir: The user's own files. Only its subfolder with the encoder's name is searched:
            every other model has a `config.json`, too.

    Raises:
        BenchError: There is no such card, or a file is unavailable.
    """
    card = encoder_card(name)
    own_folder = None if data_dir is None else data_dir / name
    files = {
        role: fetch(
            file,
            data_dir=own_folder if own_folder is not None and own_folder.is_dir() else None,
            offline=offline,
            card_name=f"the encoder {name}",
            license=card.license,
            homepage=card.homepage,
        )
        for role, file in card.files.items()
    }
    return card, files
