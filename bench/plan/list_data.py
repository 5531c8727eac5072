"""From a data set's card to its candidate lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from bench.config.cards import DatasetCard, Rows
from bench.data.assets import checksums, local_file
from bench.data.kar import Rules
from bench.plan.rerank_stages import CandidateListsConfig, make_candidate_lists
from bench.plan.types import ListData

CONSEQUENCES = {
    "users": "prompts contain no user profiles",
    "items": "items have neither titles nor attributes, so no language model can describe them",
}


def list_data(
    name: str,
    card: DatasetCard,
    *,
    rows: Rows,
    data_seed: int,
    data_dir: Path | None,
    files: Mapping[str, str] | None = None,
) -> tuple[ListData | None, tuple[str, ...]]:
    """Compose the candidate lists of a data set, with notes on missing optional files.

    A file that the card calls optional is left out if only such files are missing locally; if
    others are missing as well, all are downloaded.

    Args:
        name: The card's name.
        card: The card.
        rows: Maximum number of users per part.
        data_seed: Decides which users validate, and which are kept.
        data_dir: Folder of the user's own raw files.
        files: Checksums by role of files that the user named.
    """
    rules = card.lists
    if rules is None:
        return None, ()
    with_list_files = card.model_copy(update={"files": {**card.files, **rules.files}})
    file_checksums = checksums(with_list_files, data_dir, files)
    missing = {
        role
        for role, file in with_list_files.files.items()
        if role not in (files or {}) and local_file(file, data_dir) is None
    }
    left_out = sorted(missing) if missing <= set(rules.optional) else []
    for role in left_out:
        del file_checksums[role]
    config = CandidateListsConfig(
        name=name,
        reader=card.reader,
        fields=card.fields,
        checksums=file_checksums,
        rules=Rules(**{field.name: getattr(rules, field.name) for field in fields(Rules)}),
        category_indices=rules.category_places,
        brand=rules.brand,
        max_users=rows.model_dump(),
        seed=data_seed,
    )
    notes = tuple(
        f"{name}: {with_list_files.files[role].name} not found locally; {CONSEQUENCES[role]}."
        for role in left_out
    )
    lists = ListData(
        stage=make_candidate_lists(config),
        domain=rules.domain,
        titles=rules.titles,
        described="items" in file_checksums or not card.files,
    )
    return lists, notes
