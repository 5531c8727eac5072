"""Samples in SPRec's form, which is BIGRec's: instruction, input and output as texts.

Form: Gao et al., WWW 2025; Bao et al. (BIGRec). Each split is a JSON list of objects. The history
stands in `input` as titles in double quotes, a comma and a blank between them; the target stands in
`output` in quotes. There are no ids, users or times. Titles may hold quotes and commas themselves,
so where one ends is decided by the catalog: of all ends that give a known title, the last one.

Roles: `train`, `valid`, `test`; `items` (id2name: titles by id, SPRec's JSON object or BIGRec's
lines `title TAB id`); optionally `genres` (name2genre: categories by title) and `tracked`
(genre_dict, whose keys are the tracked categories). No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.config.toml import Card, check_card
from bench.data.catalog import Catalog
from bench.data.file_roles import require
from bench.data.json_lines import names, text
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.files import RIGHT_FILES, title_file, whole_json
from bench.data.released_splits.sequences import Row, Sequences
from bench.errors import BenchError

BETWEEN = '", "'


class Fields(Card):
    """None: the form leaves nothing open."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "sprec-samples", (*SPLITS, "items"), ("genres", "tracked"))
    if "tracked" in paths and ("genres" not in paths or categories != Categories()):
        raise BenchError(
            "The file in the role 'tracked' names the tracked categories of a file in the role "
            "'genres', so it goes with one and without [categories].",
            "Add [files.genres] and remove [categories], or remove [files.tracked].",
        )
    listed = title_file(paths["items"])
    position: dict[str, int] = {}
    for item, title in enumerate(listed.written.values()):
        position.setdefault(title, item)
    gathered = Sequences()
    for split in SPLITS:
        for number, sample in enumerate(whole_json(paths[split], list), start=1):
            where = f"Sample {number} of {paths[split].name}"
            history = quoted(_cell(sample, "input", where), position)
            target = position.get(_unquoted(_cell(sample, "output", where)))
            gathered.add(Row(items=(*history, target)), split)
    tracked = tuple(names(list(whole_json(paths["tracked"], dict)))) if "tracked" in paths else ()
    genres = whole_json(paths["genres"], dict) if "genres" in paths else {}
    by_title = {text(title): tuple(dict.fromkeys(names(of))) for title, of in genres.items()}
    return gathered.finish(
        Catalog(
            ids=tuple(listed.written),
            titles=listed.titles,
            categories=tuple(by_title.get(title, ()) for title in listed.written.values()),
            tracked=tracked,
        ),
        None if "tracked" in paths else categories,
        listed.counts,
    )


def quoted(prompt: str, position: Mapping[str, int]) -> list[int | None]:
    """Read the quoted titles of a prompt, longest match first.

    Args:
        prompt: The text; all between its first and its last double quote is titles.
        position: Positions of the titles that are known.

    Returns:
        Their positions; None, once and at the end, where no known title follows.

    Example:
        >>> quoted('You read "A "B" C", "D", "E".', {'A "B" C': 0, "D": 1})
        [0, 1, None]
    """
    begin, last = prompt.find('"'), prompt.rfind('"')
    ends = [end for end in range(begin + 1, last) if prompt.startswith(BETWEEN, end)]
    found: list[int | None] = []
    while begin < last:
        for end in (last, *reversed(ends)):
            item = position.get(prompt[begin + 1 : end]) if end > begin else None
            if item is not None:
                found.append(item)
                begin = end + len(BETWEEN) - 1
                break
        else:
            return [*found, None]
    return found


def _unquoted(output: str) -> str:
    """Take the line feed and one pair of quotes off; the title's own quotes stay."""
    return output.rstrip("\r\n").removeprefix('"').removesuffix('"')


def _cell(sample: object, key: str, where: str) -> str:
    value = sample.get(key) if isinstance(sample, dict) else None
    if not isinstance(value, str):
        raise BenchError(f"{where} has no text {key!r}.", RIGHT_FILES)
    return text(value)
