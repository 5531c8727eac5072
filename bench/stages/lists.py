"""Make the candidate lists of a data set from its raw files, as KAR does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.plugins import dataset_card
from bench.data import assets, prepared_lists
from bench.data.candidate_lists import limit_users, make_lists, select_category
from bench.data.readers import read
from bench.errors import BenchError
from bench.hashing import Job, digest
from bench.models.rerank.prompts import clean_title
from bench.plan.rerank_stages import CandidateListsConfig


def run(job: Job, config: CandidateListsConfig, inputs: Mapping[str, Path]) -> None:
    """Write users and lists.

    Raises:
        BenchError: The card has changed, a file cannot be downloaded or read, or there are no
            lists.
    """
    card = dataset_card(config.name)
    optional = set(card.lists.optional if card.lists else ())
    current, planned = ((source.reader, dict(source.fields)) for source in (card, config))
    if not card.files.keys() - optional <= config.checksums.keys() or (
        digest(current) != digest(planned)
    ):
        raise BenchError(f"The card of {config.name} changed during the run.", "Run again.")
    paths = assets.fetch_raw(
        config.name, config.checksums, data_dir=job.data_dir, offline=job.offline
    )
    fields = dict(card.fields)
    if "users" in paths:
        fields["profiles"] = True
    if card.files and "items" not in paths:
        fields["titles"] = "asin"
    raw = read(card.reader, paths, fields)
    brands = [clean_title(text) for text in raw.brands] if raw.brands else [""] * len(raw.item_ids)
    categories = [select_category(raw.categories, index) for index in config.category_indices]
    lists = make_lists(
        raw,
        config.rules,
        fields=[brands, *categories] if config.brand else categories,
        valid_share=config.valid_fraction,
        seed=config.seed,
    )
    lists = limit_users(lists, config.max_users, seed=config.seed)
    prepared_lists.write(lists, job.out)
    job.metadata.update(counts=dict(lists.counts), fingerprint=lists.fingerprint)
