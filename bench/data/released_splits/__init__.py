"""Other projects' prepared files: samples that are ready, where raw files have interactions.

Who compares with a paper on its own published rows must not filter, cut or split them again, so a
card with one of these readers leaves [titles], [filters] and [split] alone. The splits are the
files' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories, DatasetCard, Filters, Split, Titles
from bench.data.prepared import Prepared
from bench.data.released_splits import bigrec, d3, d3_windows, sdpo, sprec
from bench.errors import BenchError, unknown

PEERS: Mapping[str, Callable[[Mapping[str, Path], Mapping[str, Any], Categories], Prepared]] = {
    "bigrec-samples": bigrec.read,
    "d3-samples": d3.read,
    "d3-windows": d3_windows.read,
    "sdpo-samples": sdpo.read,
    "sprec-samples": sprec.read,
}


def read_samples(card: DatasetCard, paths: Mapping[str, Path]) -> Prepared:
    """Read ready samples.

    Args:
        card: The data set's card; its `reader` is one of `PEERS`.
        paths: The files by the role that the card gives them.

    Raises:
        BenchError: Where the card asks for a preparation, or a file is not as it should be.
    """
    if card.reader not in PEERS:
        raise unknown("reader of ready samples", card.reader, PEERS)
    for section, given, default in (
        ("titles", card.titles, Titles()),
        ("filters", card.filters, Filters()),
        ("split", card.split, Split()),
    ):
        if given != default:
            raise BenchError(
                f"The {card.reader} reader takes samples as they are, so [{section}] in the card "
                f"of {card.title} would change nothing.",
                f"Remove [{section}], or read the raw interactions with another reader.",
            )
    prepared = PEERS[card.reader](paths, card.fields, card.categories)
    if not len(prepared.target):
        raise BenchError(
            f"{card.title} has no sample: all {prepared.counts['lines']:,} rows were rejected.",
            "Check that the card names the right item file for its samples.",
        )
    return prepared
