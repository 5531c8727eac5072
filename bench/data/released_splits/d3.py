"""Samples in D3's form: one CSV a split and a catalog of lines `title TAB id`.

Form: Bao et al. (D3, "DecodingMatters"), whose preparation IGD uses. Items stand in the rows by
number; users, ratings and times where the file has their columns. All windows of a user are there
in order, so that sequences can be put back together. Titles in the rows are not read: the
catalog's are the same.

Roles: `train`, `valid`, `test`; `items` (the .info.txt file). No fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.parse_numbers import finite, whole_seconds
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.files import CUT, json_list, table_rows, title_lines, uncategorized
from bench.data.released_splits.sequences import Row, Sequences
from bench.errors import BenchError

ITEMS = ("history_item_id", "item_id")
USER = "user_id"
RATINGS = ("history_rating", "rating")
TIMES = ("history_timestamp", "timestamp")


class Fields(Card):
    """None: the columns have fixed names."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be, with its line.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "d3-samples", (*SPLITS, "items"))
    listed = title_lines(paths["items"])
    position = {item: number for number, item in enumerate(listed.written)}
    gathered = Sequences()
    first: frozenset[str] | None = None
    for split in SPLITS:
        for where, cells in table_rows(paths[split], ITEMS):
            columns = frozenset(cells) & {USER, *RATINGS, *TIMES}
            first = columns if first is None else first
            if columns != first:
                raise BenchError(
                    f"{paths[split].name} has other columns for users, ratings or times than the "
                    "file before it.",
                    "The three files must be of one preparation.",
                )
            gathered.add(_row(cells, position, where), split)
    return gathered.finish(uncategorized(listed), categories, listed.counts)


def _row(cells: Mapping[str, str], position: Mapping[str, int], where: str) -> Row:
    ids = _column(cells, ITEMS, where)
    assert ids is not None, "the header names them"
    ratings, times = (_column(cells, names, where) for names in (RATINGS, TIMES))
    for column in (ratings, times):
        if column is not None and len(column) != len(ids):
            raise BenchError(f"{where}: {len(ids)} items, but {len(column)} ratings or times.", CUT)
    return Row(
        items=[position.get(str(item)) for item in ids],
        user=cells.get(USER),
        ratings=None if ratings is None else [_rating(each, where) for each in ratings],
        times=None if times is None else [whole_seconds(each, where) for each in times],
    )


def _column(cells: Mapping[str, str], names: tuple[str, str], where: str) -> list[Any] | None:
    """Return the values of a history and its target; None where either column is missing."""
    if not cells.keys() >= set(names):
        return None
    history, target = names
    # Python writes a rating that is none in small letters, JSON's dialect in mixed ones.
    listed = json_list(cells[history].replace("nan", "NaN"), history, where)
    return [*listed, cells[target].strip()]


def _rating(value: Any, where: str) -> float:
    return math.nan if str(value) == "nan" else finite(value, "rating", where)
