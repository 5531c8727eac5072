"""Files that the user names for a role of a card: a part of a set, another release, an own copy.

They are linked into the cache under their checksum, which is part of the key of the prepared data.
So a worker finds them like any other file, and no path is sent to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.config.cards import DatasetCard
from bench.data.assets import cached_path, raw_file, shorten
from bench.errors import BenchError, unknown
from bench.hashing import checksum


def parse_files(texts: Sequence[str], datasets: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Parse `ROLE=PATH` or, where there are several data sets, `DATASET:ROLE=PATH`.

    Returns:
        Paths by role, by data set; every data set has an entry.

    Raises:
        BenchError: A text has another form, names no such data set or repeats a role.

    Example:
        >>> parse_files(["interactions=a.dat"], ["ml-1m"])["ml-1m"]["interactions"].name
        'a.dat'
    """
    files: dict[str, dict[str, Path]] = {name: {} for name in datasets}
    for text in texts:
        label, equals, path = text.partition("=")
        dataset, colon, role = label.rpartition(":")
        if not (equals and path and role.isidentifier()) or (colon and not dataset):
            raise BenchError(f"--file {text!r} is not ROLE=PATH.", "Roles: bench show DATASET.")
        if not colon and len(files) != 1:
            message = f"--file {text!r} does not say which of the {len(files)} data sets it is for."
            raise BenchError(message, "Write DATASET:ROLE=PATH.")
        name = dataset or next(iter(files))
        if name not in files:
            raise unknown("data set of this command", name, files)
        if role in files[name]:
            raise BenchError(f"--file names two files for {role} of {name}.", "Remove one.")
        files[name][role] = Path(path)
    return files


def link_files(files: Mapping[str, Path], card: DatasetCard) -> dict[str, str]:
    """Link files into the cache, each under its checksum, and return the checksums by role.

    Raises:
        BenchError: One is not a file.
    """
    checksums = {}
    for role, path in files.items():
        if not path.is_file():
            raise BenchError(f"--file {role}={path} is not a file.", "Check its spelling.")
        checksums[role] = checksum(path)
        cached = cached_path(raw_file(card, role, checksums[role]))
        if cached.is_file() and not cached.is_symlink():
            continue
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_name(f".partial-{os.getpid()}-{cached.name}")
        partial.unlink(missing_ok=True)
        try:
            partial.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, partial)
        partial.replace(cached)
    return checksums


def describe_other_versions(card: DatasetCard, checksums: Mapping[str, str | None]) -> list[str]:
    """Return a sentence per file that is not the one that the card declares."""
    notes = []
    for role, sha256 in checksums.items():
        file = card.files.get(role)
        if file is None:
            notes.append(f"A file in the role {role!r} was added, which the card does not name.")
        elif file.sha256 is not None and sha256 != file.sha256:
            assert sha256 is not None, "a file without a checksum of its own has the declared one"
            notes.append(
                f"{file.name} is another version than the card's: its sha256 is "
                f"{shorten(sha256)}, the card says {shorten(file.sha256)}."
            )
    return notes
