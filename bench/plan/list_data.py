"""From a data set's card to its re-ranking lists: rules, raw files, how many users take part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import DatasetCard, Rows
from bench.data.assets import checksums, local_file
from bench.plan.rerank_stages import lists
from bench.plan.types import Lists

WITHOUT = {
    "users": "prompts tell no profiles",
    "items": "items have neither titles nor attributes, and no language model is asked",
}


def list_data(
    name: str,
    card: DatasetCard,
    *,
    rows: Rows,
    data_seed: int,
    data_dir: Path | None,
    files: Mapping[str, str] | None = None,
) -> tuple[Lists | None, tuple[str, ...]]:
    """Compose the lists of a data set, and notes on what they have to do without.

    A file that the card calls optional is left out where it alone is not at hand; where the others
    are not either, all will be fetched.

    Args:
        name: The card's name.
        card: The card.
        rows: At most so many users of each part.
        data_seed: Decides which users validate, and which ones are kept.
        data_dir: Folder of the user's own raw files.
        files: Checksums by role of files that the user named.
    """
    rules = card.lists
    if rules is None:
        return None, ()
    whole = card.model_copy(update={"files": {**card.files, **rules.files}})
    known = checksums(whole, data_dir, files)
    # A named file is at hand under its checksum, wherever it lies.
    lacking = {
        role
        for role, file in whole.files.items()
        if role not in (files or {}) and local_file(file, data_dir) is None
    }
    left_out = sorted(lacking) if lacking <= set(rules.optional) else []
    for role in left_out:
        del known[role]
    stage = lists(
        name=name,
        reader=card.reader,
        fields=card.fields,
        checksums=known,
        seed=data_seed,
        users=rows.model_dump(),
        **rules.model_dump(exclude={"domain", "titles", "files", "optional"}),
    )
    notes = tuple(
        f"{name}: {whole.files[role].name} is not at hand; {WITHOUT[role]}." for role in left_out
    )
    described = "items" in known or not card.files
    return Lists(stage=stage, domain=rules.domain, titles=rules.titles, described=described), notes
