"""Make the candidate lists of a data set from its raw files, as KAR does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import DatasetCard
from bench.config.plugins import dataset_card
from bench.data import assets, prepared_lists
from bench.data.candidate_lists import category_field, make_lists, narrowed
from bench.data.readers import read
from bench.data.user_files import chosen_file
from bench.errors import BenchError
from bench.hashing import Job, digest
from bench.models.rerank.titles import clean_title
from bench.plan.rerank_stages import CandidateListsConfig


def run(job: Job, config: CandidateListsConfig, inputs: Mapping[str, Path]) -> None:
    """Write users and lists.

    Raises:
        BenchError: The card has changed, a file cannot be downloaded or read, or there are no
            lists.
    """
    card = dataset_card(config.name)
    optional = set(card.lists.optional if card.lists else ())
    current, planned = ((one.reader, dict(one.fields)) for one in (card, config))
    if not card.files.keys() - optional <= config.checksums.keys() or (
        digest(current) != digest(planned)
    ):
        raise BenchError(f"The card of {config.name} changed during the run.", "Run again.")
    paths = _fetch_files(job, config.name, card, config.checksums)
    fields = dict(card.fields)
    if "users" in paths:
        fields["profiles"] = True
    if card.files and "items" not in paths:
        fields["titles"] = "asin"
    raw = read(card.reader, paths, fields)
    brands = [clean_title(text) for text in raw.brands] if raw.brands else [""] * len(raw.item_ids)
    categories = [category_field(raw.categories, index) for index in config.category_indices]
    candidate_lists = make_lists(
        raw,
        config.rules,
        fields=[brands, *categories] if config.brand else categories,
        valid_share=config.valid_fraction,
        seed=config.seed,
    )
    candidate_lists = narrowed(candidate_lists, config.max_users, seed=config.seed)
    prepared_lists.write(candidate_lists, job.out)
    job.facts["counts"] = dict(candidate_lists.counts)
    job.facts["fingerprint"] = candidate_lists.fingerprint


def _fetch_files(
    job: Job, name: str, card: DatasetCard, checksums: Mapping[str, str | None]
) -> dict[str, Path]:
    """Return the raw files by role, including files that only the lists need."""
    list_files = card.lists.files if card.lists else {}
    with_list_files = card.model_copy(update={"files": {**card.files, **list_files}})
    return {
        role: assets.fetch(
            chosen_file(with_list_files, role, sha256),
            data_dir=job.data_dir,
            offline=job.offline,
            card_name=name,
            license=card.license,
            homepage=card.homepage,
        )
        for role, sha256 in checksums.items()
    }
