"""D3's samples: one CSV file per split and an item file of lines `title TAB id`.

Format: Bao et al. (D3, "DecodingMatters"), whose preparation IGD uses. Rows have item numbers;
users, ratings and times where the file has their columns. All windows of a user are there in order,
so sequences can be rebuilt. Titles in the rows are ignored: the item file has the same ones.

Roles: `train`, `valid`, `test`; `items` (the .info.txt file). No fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.item_titles import read_titles
from bench.data.released_splits.sequences import SequenceBuilder
from bench.data.text_files import open_table
from bench.data.values import TRUNCATED, parse_list, parse_number, parse_seconds
from bench.errors import BenchError

REQUIRED_ROLES, OPTIONAL_ROLES = (*SPLITS, "items"), ()
ITEMS = ("history_item_id", "item_id")
RATINGS = ("history_rating", "rating")
TIMES = ("history_timestamp", "timestamp")


def read(paths: Mapping[str, Path], categories: Categories) -> Prepared:
    """Read the files of one data set."""
    titles = read_titles(paths["items"], lines_only=True)
    index = titles.indices()
    builder = SequenceBuilder()
    columns: set[str] | None = None
    for split in SPLITS:
        table = open_table(paths[split], ",", multiline=True)
        optional = {"user_id", *RATINGS, *TIMES} & set(table.header)
        if columns not in (None, optional):
            message = (
                f"{table.name} has other columns of users, ratings or times than the file before."
            )
            raise BenchError(message, "The three files must come from one preparation.")
        columns = optional
        for where, cells in table.records(*ITEMS):
            ids = _parse_column(cells, ITEMS, where) or []
            ratings, times = (_parse_column(cells, names, where) for names in (RATINGS, TIMES))
            for column in (ratings, times):
                if column is not None and len(column) != len(ids):
                    message = f"{where}: {len(ids)} items, but {len(column)} ratings or times."
                    raise BenchError(message, TRUNCATED)
            builder.add(
                split,
                [index.get(str(item)) for item in ids],
                user=cells.get("user_id"),
                ratings=ratings and [_parse_rating(rating, where) for rating in ratings],
                times=times and [parse_seconds(time, where) for time in times],
            )
    return builder.finish(titles.catalog(), titles.counts, categories)


def _parse_column(cells: Mapping[str, str], names: tuple[str, str], where: str) -> list[Any] | None:
    """Return the values of a history and its target; None where either column is missing."""
    history, target = names
    if not cells.keys() >= {history, target}:
        return None
    # Python writes a missing rating as nan, Python's JSON parser reads NaN.
    values = parse_list(cells[history].replace("nan", "NaN"), history, where)
    return [*values, cells[target].strip()]


def _parse_rating(value: Any, where: str) -> float:
    return math.nan if str(value) == "nan" else parse_number(value, "rating", where)
