"""Files that the user names for a role of a card: a part of a set, another release, an own copy.

They are linked into the cache under their checksum, which stands in the key of the prepared data.
So a worker finds them like any other file, and no path travels to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.config.cards import DatasetCard, RawFile
from bench.data.assets import cached_place
from bench.errors import BenchError, unknown
from bench.hashing import checksum

SHOWN = 12


def parse_files(texts: Sequence[str], datasets: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Read `ROLE=PATH` or, where there are several data sets, `DATASET:ROLE=PATH`.

    Returns:
        Paths by role, by data set; every data set has an entry.

    Raises:
        BenchError: One is not of this form, names no such data set or repeats a role.

    Example:
        >>> parse_files(["interactions=a.dat"], ["ml-1m"])["ml-1m"]["interactions"].name
        'a.dat'
    """
    found: dict[str, dict[str, Path]] = {name: {} for name in datasets}
    for text in texts:
        place, equals, path = text.partition("=")
        dataset, colon, role = place.rpartition(":")
        if not (equals and path and role.isidentifier()) or (colon and not dataset):
            raise BenchError(f"--file {text!r} is not ROLE=PATH.", "Roles: bench show DATASET.")
        if not colon and len(found) != 1:
            raise BenchError(
                f"--file {text!r} does not say which of the {len(found)} data sets it is for.",
                "Write DATASET:ROLE=PATH.",
            )
        name = dataset or next(iter(found))
        if name not in found:
            raise unknown("data set of this command", name, found)
        if role in found[name]:
            raise BenchError(f"--file names two files for {role} of {name}.", "Leave one out.")
        found[name][role] = Path(path)
    return found


def choose(files: Mapping[str, Path], card: DatasetCard) -> dict[str, str]:
    """Link files into the cache, each under its checksum, and return the checksums by role.

    A role that the card lacks is taken too, for some readers know roles that a published set has no
    file for; which ones, the reader says.

    Raises:
        BenchError: One is no file.
    """
    return {role: _linked(path, role, card) for role, path in files.items()}


def _linked(path: Path, role: str, card: DatasetCard) -> str:
    if not path.is_file():
        raise BenchError(f"--file {role}={path} is no file.", "Check its spelling.")
    sha256 = checksum(path)
    place = cached_place(chosen_file(card, role, sha256))
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_file() and not place.is_symlink():
        return sha256
    partial = place.with_name(f".partial-{os.getpid()}-{place.name}")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(path.resolve())
    except OSError:
        shutil.copyfile(path, partial)
    partial.replace(place)
    return sha256


def chosen_file(card: DatasetCard, role: str, sha256: str | None) -> RawFile:
    """Return what the card says of a file, with the checksum that was planned with."""
    return card.files.get(role, RawFile(name=role)).model_copy(update={"sha256": sha256})


def other_versions(card: DatasetCard, checksums: Mapping[str, str | None]) -> list[str]:
    """Say, in sentences, where files are not those that the card declares or names."""
    notes = []
    for role, sha256 in checksums.items():
        file = card.files.get(role)
        if file is None:
            notes.append(f"A file in the role {role!r} was added, which the card does not name.")
        elif file.sha256 is not None and sha256 != file.sha256:
            assert sha256 is not None, "a declared checksum stands in for a file not at hand"
            notes.append(
                f"{file.name} is another version than the card's: its sha256 is "
                f"{sha256[:SHOWN]}…, the card says {file.sha256[:SHOWN]}…."
            )
    return notes
