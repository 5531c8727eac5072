"""Prepare a data set: fetch its raw files, check them, read, filter, split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.config.plugins import dataset_card
from bench.data import assets, prepared
from bench.data.prepare import find_mismatches, prepare
from bench.data.user_files import describe_other_versions
from bench.errors import BenchError
from bench.hashing import Job, checksum, digest
from bench.plan.config import to_plain
from bench.plan.item_stages import PrepareConfig


def run(job: Job, config: PrepareConfig, inputs: Mapping[str, Path]) -> None:
    """Write the prepared data.

    URLs are not part of the config, and so not of the key: a file is the same file wherever it
    comes from. They are taken from the card, which must still be the one of the plan. Checksums of
    files that the user passed for a role may differ from the card's, or belong to a role that the
    card lacks; the notes of the prepared data say so.

    Raises:
        BenchError: The card has changed since the plan, or a file cannot be fetched or read.
    """
    name, checksums = config.name, config.checksums
    current = dataset_card(name)
    added = checksums.keys() - current.files.keys()
    same_files = current.files.keys() <= checksums.keys() and all(checksums[r] for r in added)
    if not same_files or digest(current.preparation()) != digest(to_plain(config.card)):
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    paths = assets.fetch_raw(name, checksums, data_dir=job.data_dir, offline=job.offline)
    data = prepare(current, paths)
    data = replace(data, notes=(*describe_other_versions(current, checksums), *data.notes))
    prepared.write(data, job.out)
    job.metadata.update(
        counts=dict(data.counts),
        fingerprint=data.fingerprint,
        notes=[*data.notes, *find_mismatches(current, data.counts)],
        checksums={role: checksums[role] or checksum(path) for role, path in paths.items()},
    )
