"""Item files of released splits: titles by item id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.catalog import Catalog
from bench.data.raw import NO_TITLE, REPEATED_ITEM, one_line
from bench.data.text_files import read_json, read_lines
from bench.data.values import CHECK_CARD, TRUNCATED, as_text
from bench.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class ItemTitles:
    """The items of a released split, in file order.

    Attributes:
        by_id: Titles exactly as written, surrounding blanks included; none is blank.
        counts: Numbers of rejected and cleaned titles by name.
    """

    by_id: Mapping[str, str]
    counts: Mapping[str, int]

    def indices(self) -> dict[str, int]:
        """Return the index of each item by its id."""
        return {item_id: index for index, item_id in enumerate(self.by_id)}

    def catalog(
        self, categories: Mapping[str, tuple[str, ...]] | None = None, tracked: tuple[str, ...] = ()
    ) -> Catalog:
        """Return the items with titles on one line each; `categories` are by title as written."""
        categories = categories or {}
        return Catalog(
            ids=tuple(self.by_id),
            titles=tuple(map(one_line, self.by_id.values())),
            categories=tuple(categories.get(title, ()) for title in self.by_id.values()),
            tracked=tracked,
        )


def collect_titles(pairs: Iterable[tuple[str, str]]) -> ItemTitles:
    """Collect pairs of id and title; repeated ids and blank titles are rejected and counted."""
    by_id: dict[str, str] = {}
    counts: Counter[str] = Counter({"titles cleaned": 0})
    for item_id, title in pairs:
        cleaned = one_line(title)
        if item_id in by_id:
            counts[f"rejected: {REPEATED_ITEM}"] += 1
        elif not cleaned:
            counts[f"rejected: {NO_TITLE}"] += 1
        else:
            counts["titles cleaned"] += cleaned != title.strip()
            by_id[item_id] = title
    return ItemTitles(by_id=by_id, counts=dict(sorted(counts.items())))


def read_titles(path: Path, *, lines_only: bool = False) -> ItemTitles:
    """Read lines `title TAB id`, as BIGRec and D3 write them, or a JSON object of titles by id.

    The first line decides which one is expected, unless `lines_only` refuses JSON.

    Raises:
        BenchError: The file is neither.
    """
    first = next(read_lines(path))[1]
    is_json = not lines_only and (first.startswith("{") or "\t" not in first)
    return collect_titles(_read_object(path) if is_json else _read_title_lines(path))


def _read_title_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in read_lines(path):
        title, tab, item_id = line.rpartition("\t")
        if not tab or not item_id.strip():
            raise BenchError(f"Line {number} of {path.name} is not `title TAB id`.", TRUNCATED)
        yield item_id.strip(), title


def _read_object(path: Path) -> Iterator[tuple[str, str]]:
    for key, title in read_json(path, dict).items():
        if not isinstance(title, str):
            message = f"The title of {as_text(key)!r} in {path.name} is no text."
            raise BenchError(message, CHECK_CARD)
        yield as_text(key), as_text(title)
