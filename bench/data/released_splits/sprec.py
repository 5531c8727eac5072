"""SPRec's samples, in BIGRec's format: instruction, input and output as texts.

Format: Gao et al., WWW 2025; Bao et al. (BIGRec). Each split is a JSON list of objects. `input`
has the history as titles in double quotes, separated by a comma and a blank; `output` has the
target in quotes. There are no ids, users or times. Titles may contain quotes and commas, so the
item file decides where one ends: of all ends that give a known title, the last one.

Roles: `train`, `valid`, `test`; `items` (id2name: titles by id, SPRec's JSON object or BIGRec's
lines `title TAB id`); optionally `genres` (name2genre: categories by title) and `tracked`
(genre_dict, whose keys are the tracked categories). No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import Categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.item_titles import read_titles
from bench.data.released_splits.sequences import SequenceBuilder
from bench.data.text_files import read_json
from bench.data.values import CHECK_CARD, as_text, category_names
from bench.errors import BenchError

REQUIRED_ROLES, OPTIONAL_ROLES = (*SPLITS, "items"), ("genres", "tracked")
SEPARATOR = '", "'


def read(paths: Mapping[str, Path], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: Both a file and [categories] choose the tracked categories.
    """
    if "tracked" in paths and ("genres" not in paths or categories != Categories()):
        raise BenchError(
            "A file in the role 'tracked' requires one in the role 'genres' and no [categories].",
            "Add [files.genres] and remove [categories], or remove [files.tracked].",
        )
    titles = read_titles(paths["items"])
    index: dict[str, int] = {}
    for item, title in enumerate(titles.by_id.values()):
        index.setdefault(title, item)
    builder = SequenceBuilder()
    for split in SPLITS:
        for number, sample in enumerate(read_json(paths[split], list), start=1):
            where = f"Sample {number} of {paths[split].name}"
            history = parse_quoted_titles(_require_cell(sample, "input", where), index)
            # Remove the line feed and one pair of quotes; quotes of the title itself stay.
            output = _require_cell(sample, "output", where).rstrip("\r\n")
            target = index.get(output.removeprefix('"').removesuffix('"'))
            builder.add(split, [*history, target])
    genres = read_json(paths["genres"], dict) if "genres" in paths else {}
    by_title = {
        as_text(title): tuple(dict.fromkeys(category_names(names)))
        for title, names in genres.items()
    }
    tracked = category_names(list(read_json(paths["tracked"], dict))) if "tracked" in paths else []
    return builder.finish(
        titles.catalog(by_title, tuple(tracked)),
        titles.counts,
        None if "tracked" in paths else categories,
    )


def parse_quoted_titles(prompt: str, index: Mapping[str, int]) -> list[int | None]:
    """Parse the quoted titles between the first and the last double quote, longest match first.

    Returns:
        Their indices; None, once and at the end, where no known title follows.

    Example:
        >>> parse_quoted_titles('You read "A "B" C", "D", "E".', {'A "B" C': 0, "D": 1})
        [0, 1, None]
    """
    begin, last = prompt.find('"'), prompt.rfind('"')
    ends = [end for end in range(begin + 1, last) if prompt.startswith(SEPARATOR, end)]
    items: list[int | None] = []
    while begin < last:
        for end in (last, *reversed(ends)):
            item = index.get(prompt[begin + 1 : end]) if end > begin else None
            if item is not None:
                items.append(item)
                begin = end + len(SEPARATOR) - 1
                break
        else:
            return [*items, None]
    return items


def _require_cell(sample: object, key: str, where: str) -> str:
    value = sample.get(key) if isinstance(sample, dict) else None
    if not isinstance(value, str):
        raise BenchError(f"{where} has no text {key!r}.", CHECK_CARD)
    return as_text(value)
