"""Make re-ranking lists of a data set from its raw files, as KAR does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.config.plugins import dataset_card
from bench.data import assets, kar, prepared_lists
from bench.data.candidate_lists import limit_users, make_lists, select_category
from bench.data.readers import read
from bench.errors import BenchError
from bench.hashing import Job, digest
from bench.models.rerank.titles import cleaned


def run(
    job: Job,
    *,
    name: str,
    card: Mapping[str, Any],
    checksums: Mapping[str, str | None],
    rules: Mapping[str, Any],
    category_places: Sequence[int],
    brand: bool,
    users: Mapping[str, int | None],
    valid_share: float,
    seed: int,
) -> None:
    """Write users and lists.

    Args:
        job: Where to write, where raw files may lie, whether the network is allowed.
        name: Name of the data set's card.
        card: Its reader and fields; titles, filters and splits of the card play no part here.
        checksums: The raw files' sha256 by role; None where nothing told it beforehand. Files that
            the lists are to do without have no entry.
        rules: The keyword arguments of `kar.Rules`.
        category_places: Which categories of an item are its attributes, by place in its list.
        brand: Whether its brand is one, too, before them.
        users: At most so many users of each part.
        valid_share: Share of KAR's training users that is set apart for validation.
        seed: Decides which ones, and which users are kept.

    Raises:
        BenchError: Where the card changed since, a file cannot be had or read, or no list is left.
    """
    current = dataset_card(name)
    now: dict[str, Any] = {"reader": current.reader, "fields": current.fields}
    optional = set(current.lists.optional if current.lists else ())
    if not (current.files.keys() - optional <= checksums.keys()) or digest(now) != digest(
        dict(card)
    ):
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    paths = assets.fetch_raw(name, checksums, data_dir=job.data_dir, offline=job.offline)
    fields = dict(current.fields)
    if "users" in paths:
        fields["profiles"] = True
    if current.files and "items" not in paths:
        fields["titles"] = "asin"
    raw = read(current.reader, paths, fields)
    brands = [cleaned(text) for text in raw.brands] if raw.brands else [""] * len(raw.item_ids)
    columns = [select_category(raw.categories, place) for place in category_places]
    made = make_lists(
        raw,
        kar.Rules(**rules),
        fields=[brands, *columns] if brand else columns,
        valid_share=valid_share,
        seed=seed,
    )
    made = limit_users(made, users, seed=seed)
    prepared_lists.write(made, job.out)
    job.facts["counts"] = dict(made.counts)
    job.facts["fingerprint"] = made.fingerprint
