"""Make re-ranking lists of a data set from its raw files, as KAR does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.data import kar, lists
from bench.data.listmaking import category_field, make_lists
from bench.data.readers import read
from bench.errors import BenchError
from bench.plugins import dataset_card
from bench.records import Job, digest
from bench.stages.prepare import fetch_raw


def run(
    job: Job,
    *,
    name: str,
    card: Mapping[str, Any],
    checksums: Mapping[str, str | None],
    rules: Mapping[str, Any],
    category_places: Sequence[int],
    valid_share: float,
    seed: int,
) -> None:
    """Write users and lists.

    Args:
        job: Where to write, where raw files may lie, whether the network is allowed.
        name: Name of the data set's card.
        card: Its reader and fields; titles, filters and splits of the card play no part here.
        checksums: The raw files' sha256 by role; None where nothing told it beforehand.
        rules: The keyword arguments of `kar.Rules`.
        category_places: Which categories of an item are its attributes, by place in its list.
        valid_share: Share of KAR's training users that is set apart for validation.
        seed: Decides which ones.

    Raises:
        BenchError: Where the card changed since, a file cannot be had or read, or no list is left.
    """
    current = dataset_card(name)
    now: dict[str, Any] = {"reader": current.reader, "fields": current.fields}
    if current.files.keys() != checksums.keys() or digest(now) != digest(dict(card)):
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    paths = fetch_raw(name, checksums, data_dir=job.data_dir, offline=job.offline)
    raw = read(current.reader, paths, current.fields)
    made = make_lists(
        raw,
        kar.Rules(**rules),
        fields=[category_field(raw.categories, place) for place in category_places],
        valid_share=valid_share,
        seed=seed,
    )
    lists.write(made, job.out)
    job.facts["counts"] = dict(made.counts)
    job.facts["fingerprint"] = made.fingerprint
