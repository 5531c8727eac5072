"""Prepared files of other projects: ready samples instead of raw interactions.

A comparison with a paper on its own published rows must not filter, window or split them again, so
a card with one of these readers has no [titles], [filters] and [split]. The splits are the files'
own. Each module declares its file roles and has `read(paths, categories)`; none has [fields].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from bench.config.cards import DatasetCard, Filters, Split, Titles
from bench.config.toml import Card, check_card
from bench.data.prepared import Prepared
from bench.data.raw import check_roles
from bench.data.released_splits import bigrec, d3, d3_windows, sdpo, sprec
from bench.errors import BenchError, unknown

RELEASED_SPLITS: Mapping[str, ModuleType] = {
    "bigrec-samples": bigrec,
    "d3-samples": d3,
    "d3-windows": d3_windows,
    "sdpo-samples": sdpo,
    "sprec-samples": sprec,
}


def read_samples(card: DatasetCard, paths: Mapping[str, Path]) -> Prepared:
    """Read ready samples from files by the role that the card gives them.

    Raises:
        BenchError: The card asks for a preparation, its roles or [fields] do not fit, or a file is
            malformed; the message names the file and line.
    """
    if card.reader not in RELEASED_SPLITS:
        raise unknown("reader of ready samples", card.reader, RELEASED_SPLITS)
    for section, content, default in (
        ("titles", card.titles, Titles()),
        ("filters", card.filters, Filters()),
        ("split", card.split, Split()),
    ):
        if content != default:
            raise BenchError(
                f"The {card.reader} reader takes samples as they are, so [{section}] in the card "
                f"of {card.title} would change nothing.",
                f"Remove [{section}], or read the raw interactions with another reader.",
            )
    module = RELEASED_SPLITS[card.reader]
    check_card(card.fields, Card, "The card's fields")
    check_roles(paths, card.reader, module.REQUIRED_ROLES, module.OPTIONAL_ROLES)
    prepared: Prepared = module.read(paths, card.categories)
    if not len(prepared.target):
        raise BenchError(
            f"{card.title} has no sample: all {prepared.counts['lines']:,} rows were rejected.",
            "Check that the card names the right item file for its samples.",
        )
    return prepared
