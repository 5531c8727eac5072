"""Readers of raw formats: one module per format, with `Fields` and `read(paths, fields)`.

A card names its reader, its raw files by role and the options of the reader (`[fields]`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.config.toml import check_card
from bench.data.raw import RawData, check_roles
from bench.data.readers import amazon, goodreads, movielens, recbole, steam, synthetic
from bench.errors import unknown

READERS: Mapping[str, ModuleType] = {
    "amazon": amazon,
    "goodreads": goodreads,
    "movielens": movielens,
    "recbole": recbole,
    "steam": steam,
    "synthetic": synthetic,
}


def read(reader: str, paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read a data set's raw files, by the role that the card gives them.

    Raises:
        BenchError: The reader is unknown, the card's fields or roles do not fit, or a file is
            malformed; the message names the file and line.
    """
    if reader not in READERS:
        raise unknown("reader", reader, READERS)
    module = READERS[reader]
    options = check_card(fields, module.Fields, "The card's fields")
    check_roles(paths, reader, options.required_roles, options.optional_roles)
    data: RawData = module.read(paths, options)
    return data
