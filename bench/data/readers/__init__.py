"""Readers: one module a raw format, each with `read(paths, fields) -> RawData`.

A card names its reader, its raw files by role and the fields that the reader maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.data.raw import RawData
from bench.data.readers import amazon, goodreads, movielens, recbole, steam, synthetic
from bench.errors import unknown

READERS: Mapping[str, Callable[[Mapping[str, Path], Mapping[str, Any]], RawData]] = {
    "amazon": amazon.read,
    "goodreads": goodreads.read,
    "movielens": movielens.read,
    "recbole": recbole.read,
    "steam": steam.read,
    "synthetic": synthetic.read,
}


def read(reader: str, paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read a data set's raw files.

    Args:
        reader: Name of a module in this package.
        paths: The files by the role that the card gives them.
        fields: The card's `fields`; every reader documents its own.

    Raises:
        BenchError: For an unknown reader, unfit fields, or a file that is not as it should be.
    """
    if reader not in READERS:
        raise unknown("reader", reader, READERS)
    return READERS[reader](paths, fields)
