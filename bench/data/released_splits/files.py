"""What the peers' forms are made of: CSV tables, whole JSON values, titles by id."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.catalog import Catalog
from bench.data.json_lines import text
from bench.data.raw import NO_TITLE, REPEATED_ITEM, one_line
from bench.data.text_lines import FETCH_AGAIN, read_lines
from bench.errors import BenchError

CUT = "It may be cut off. " + FETCH_AGAIN
RIGHT_FILES = "Check that the card names the right files for its reader."


def table_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row of a CSV file stands and its cells by column.

    Args:
        path: The file; its first line is a header.
        columns: Columns that the header must name, each once; it may name others.

    Raises:
        BenchError: A column is missing, or a row is not as long as the header or no CSV.
    """
    # Quoted titles may hold line feeds, so the parser is given back the one that was taken off.
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    try:
        header = next(reader)
        for column in columns:
            if header.count(column) != 1:
                raise BenchError(
                    f"Line 1 of {path.name} does not name the column {column!r} once.", RIGHT_FILES
                )
        for cells in reader:
            where = f"Line {reader.line_num} of {path.name}"
            if len(cells) != len(header):
                raise BenchError(f"{where} has {len(cells)} cells, not {len(header)}.", CUT)
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        where = f"Line {reader.line_num} of {path.name}"
        raise BenchError(f"{where} is not CSV: {error}.", CUT) from error


def json_list(cell: str, what: str, where: str) -> list[Any]:
    """Read a list that stands in a cell.

    Raises:
        BenchError: It is none.
    """
    try:
        listed = json.loads(cell)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise BenchError(f"{where}: {what} is no list: {cell[:40]!r}.", CUT)
    return listed


def whole_json(path: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Read a whole file as one JSON value; a list or an object is asked for.

    Raises:
        BenchError: It is none.
    """
    content = "\n".join(line for _, line in read_lines(path))
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise BenchError(
            f"Line {error.lineno} of {path.name} is no JSON: {error.msg}.",
            "The file may be cut off. " + FETCH_AGAIN,
        ) from error
    except (ValueError, RecursionError) as error:
        raise BenchError(
            f"{path.name} has a number too long or lists too deep to read.", FETCH_AGAIN
        ) from error
    if not isinstance(value, kind):
        expected = "list" if kind is list else "object"
        raise BenchError(f"{path.name} is no JSON {expected}.", RIGHT_FILES)
    return value


@dataclass(frozen=True, kw_only=True)
class TitleFile:
    """Titles by id, in file order.

    Attributes:
        written: As the file has them, blanks at the ends and all; none without a character.
        counts: What was rejected or mended.
    """

    written: Mapping[str, str]
    counts: Mapping[str, int]

    @property
    def titles(self) -> tuple[str, ...]:
        """On one line each, blanks at the ends gone."""
        return tuple(map(one_line, self.written.values()))


def title_lines(path: Path) -> TitleFile:
    """Read a catalog of lines `title TAB id`, as BIGRec and D3 write it.

    Raises:
        BenchError: A line is none.
    """
    return _gathered(_from_lines(path))


def title_file(path: Path) -> TitleFile:
    """Read a catalog of lines, or a JSON object of titles by id; its first line tells which.

    Raises:
        BenchError: It is neither.
    """
    first = next(read_lines(path))[1]
    as_lines = "\t" in first and not first.startswith("{")
    return _gathered(_from_lines(path) if as_lines else _from_object(path))


def _gathered(pairs: Iterable[tuple[str, str]]) -> TitleFile:
    written: dict[str, str] = {}
    untitled = repeated = mended = 0
    for item, title in pairs:
        shown = one_line(title)
        if item in written:
            repeated += 1
        elif not shown:
            untitled += 1
        else:
            mended += shown != title.strip()
            written[item] = title
    rejected = {f"rejected: {NO_TITLE}": untitled, f"rejected: {REPEATED_ITEM}": repeated}
    counted = {name: num for name, num in rejected.items() if num}
    return TitleFile(written=written, counts={**counted, "titles mended": mended})


def _from_object(path: Path) -> Iterator[tuple[str, str]]:
    for key, title in whole_json(path, dict).items():
        if not isinstance(title, str):
            raise BenchError(f"The title of {text(key)!r} in {path.name} is no text.", RIGHT_FILES)
        yield text(key), text(title)


def _from_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in read_lines(path):
        title, tab, item = line.rpartition("\t")
        if not tab or not item.strip():
            raise BenchError(f"Line {number} of {path.name} is not `title TAB id`.", CUT)
        yield item.strip(), title


def uncategorized(listed: TitleFile) -> Catalog:
    """Return the items of a form that knows no categories."""
    return Catalog(
        ids=tuple(listed.written), titles=listed.titles, categories=((),) * len(listed.written)
    )
