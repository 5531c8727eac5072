"""Samples in D3's form: one CSV a split and a catalogue of lines `title TAB id`.

Form: Bao et al. (D3, "DecodingMatters"), whose preparation IGD uses. Items stand in the rows by
number; users, ratings and times where the file has their columns. All windows of a user are there
in order, so that sequences can be put back together. Titles in the rows are not read: the
catalogue's are the same.

Roles: `train`, `valid`, `test`; `items` (the .info.txt file). No fields.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.cards import Categories
from bench.config import Card, check_card
from bench.data.catalogue import Catalogue
from bench.data.cells import finite, whole_seconds
from bench.data.lines import FETCH_AGAIN, read_lines
from bench.data.peers.sequences import Row, Sequences
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import NO_TITLE, REPEATED_ITEM, one_line
from bench.data.roles import require
from bench.errors import BenchError

ITEMS = ("history_item_id", "item_id")
USER = "user_id"
RATINGS = ("history_rating", "rating")
TIMES = ("history_timestamp", "timestamp")
CUT = "It may be cut off. " + FETCH_AGAIN


class Fields(Card):
    """None: the columns have fixed names."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be, with its line.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "d3-samples", (*SPLITS, "items"))
    titles, counts = _catalogue(paths["items"])
    position = {item: number for number, item in enumerate(titles)}
    gathered = Sequences()
    first: frozenset[str] | None = None
    for split in SPLITS:
        for where, cells in _rows(paths[split]):
            columns = frozenset(cells) & {USER, *RATINGS, *TIMES}
            first = columns if first is None else first
            if columns != first:
                raise BenchError(
                    f"{paths[split].name} has other columns for users, ratings or times than the "
                    "file before it.",
                    "The three files must be of one preparation.",
                )
            gathered.add(_row(cells, position, where), split)
    catalogue = Catalogue(
        ids=tuple(titles), titles=tuple(titles.values()), categories=((),) * len(titles)
    )
    return gathered.finish(catalogue, categories, counts)


def _catalogue(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Return titles by id in file order, and what was rejected or mended."""
    titles: dict[str, str] = {}
    untitled = repeated = mended = 0
    for number, line in read_lines(path):
        title, tab, item = line.rpartition("\t")
        if not tab or not item.strip():
            raise BenchError(f"Line {number} of {path.name} is not `title TAB id`.", CUT)
        shown, item = one_line(title), item.strip()
        if item in titles:
            repeated += 1
        elif not shown:
            untitled += 1
        else:
            mended += shown != title.strip()
            titles[item] = shown
    rejected = {f"rejected: {NO_TITLE}": untitled, f"rejected: {REPEATED_ITEM}": repeated}
    return titles, {**{k: num for k, num in rejected.items() if num}, "titles mended": mended}


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row stands and its cells by column."""
    # Quoted titles may hold line feeds, so the parser is given back the one that was taken off.
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    try:
        header = next(reader)
        for column in ITEMS:
            if header.count(column) != 1:
                raise BenchError(
                    f"Line 1 of {path.name} does not name the column {column!r} once.",
                    "Check that the card names the right files for its reader.",
                )
        for cells in reader:
            where = f"Line {reader.line_num} of {path.name}"
            if len(cells) != len(header):
                raise BenchError(f"{where} has {len(cells)} cells, not {len(header)}.", CUT)
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        where = f"Line {reader.line_num} of {path.name}"
        raise BenchError(f"{where} is not CSV: {error}.", CUT) from error


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
    try:
        # Python writes a rating that is none in small letters, JSON's dialect in mixed ones.
        listed = json.loads(cells[history].replace("nan", "NaN"))
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise BenchError(f"{where}: {history} is no list: {cells[history][:40]!r}.", CUT)
    return [*listed, cells[target].strip()]


def _rating(value: Any, where: str) -> float:
    return math.nan if str(value) == "nan" else finite(value, "rating", where)
