"""Prepare a data set: fetch its raw files, check them, read, filter, split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.config.cards import DatasetCard
from bench.config.plugins import dataset_card
from bench.data import assets, prepared
from bench.data.prepare import find_mismatches, prepare
from bench.data.user_files import describe_other_versions
from bench.errors import BenchError
from bench.hashing import Job, checksum, digest


def run(
    job: Job, *, name: str, card: Mapping[str, Any], checksums: Mapping[str, str | None]
) -> None:
    """Write the prepared data.

    Addresses stay out of the arguments, and so out of the key: a file is the same file wherever it
    comes from. They are taken from the card, which must still be the one that was planned with.

    Args:
        job: Where to write, where raw files may lie, whether the network is allowed.
        name: Name of the data set's card.
        card: The card's `preparation()`.
        checksums: The raw files' sha256 by role; None where neither the card nor a file at hand
            told it when the run was planned. Those of files that the user named for a role differ
            from the card's, or stand in a role that the card lacks; notes say so.

    Raises:
        BenchError: Where the card changed since, or a file cannot be had or read.
    """
    current = dataset_card(name)
    added = checksums.keys() - current.files.keys()
    same_files = current.files.keys() <= checksums.keys() and all(checksums[r] for r in added)
    if not same_files or digest(current.preparation()) != digest(dict(card)):
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    paths = assets.fetch_raw(name, checksums, data_dir=job.data_dir, offline=job.offline)
    data = prepare(current, paths)
    data = replace(data, notes=(*describe_other_versions(current, checksums), *data.notes))
    prepared.write(data, job.out)
    job.facts.update(_facts(current, data))
    job.facts["checksums"] = {
        role: checksums[role] or checksum(path) for role, path in paths.items()
    }


def _facts(card: DatasetCard, data: prepared.Prepared) -> dict[str, Any]:
    return {
        "counts": dict(data.counts),
        "fingerprint": data.fingerprint,
        "notes": [*data.notes, *find_mismatches(card, data.counts)],
    }
