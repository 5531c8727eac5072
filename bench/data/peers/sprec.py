"""Samples in SPRec's form, which is BIGRec's: instruction, input and output as texts.

Form: Gao et al., WWW 2025; Bao et al. (BIGRec). Each split is a JSON list of objects. The history
stands in `input` as titles in double quotes, a comma and a blank between them; the target stands in
`output` in quotes. There are no ids, users or times. Titles may hold quotes and commas themselves,
so where one ends is decided by the catalogue: of all ends that give a known title, the last one.

Roles: `train`, `valid`, `test`; `items` (id2name: titles by id); optionally `genres` (name2genre:
categories by title) and `tracked` (genre_dict, whose keys are the tracked categories). No fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cards import Categories
from bench.config import Card, check_card
from bench.data.catalogue import Catalogue
from bench.data.lines import FETCH_AGAIN, read_lines
from bench.data.objects import names, text
from bench.data.peers.sequences import Row, Sequences
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import NO_TITLE, one_line
from bench.data.roles import require
from bench.errors import BenchError

BETWEEN = '", "'
RIGHT_FILES = "Check that the card names the right files for its reader."


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
    catalogue = _Titles.read(paths["items"])
    gathered = Sequences()
    for split in SPLITS:
        for number, sample in enumerate(_json(paths[split], list), start=1):
            where = f"Sample {number} of {paths[split].name}"
            history = quoted(_cell(sample, "input", where), catalogue.position)
            target = catalogue.position.get(_unquoted(_cell(sample, "output", where)))
            gathered.add(Row(items=(*history, target)), split)
    tracked = tuple(names(list(_json(paths["tracked"], dict)))) if "tracked" in paths else ()
    genres = _json(paths["genres"], dict) if "genres" in paths else {}
    by_title = {text(title): tuple(dict.fromkeys(names(of))) for title, of in genres.items()}
    return gathered.finish(
        Catalogue(
            ids=catalogue.ids,
            titles=tuple(one_line(title) for title in catalogue.titles),
            categories=tuple(by_title.get(title, ()) for title in catalogue.titles),
            tracked=tracked,
        ),
        None if "tracked" in paths else categories,
        catalogue.counts(),
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


@dataclass(frozen=True, kw_only=True)
class _Titles:
    """The catalogue, in file order, titles as the prompts write them."""

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    position: Mapping[str, int]
    num_untitled: int

    @classmethod
    def read(cls, path: Path) -> _Titles:
        listed = {text(key): value for key, value in _json(path, dict).items()}
        for key, title in listed.items():
            if not isinstance(title, str):
                raise BenchError(f"The title of {key!r} in {path.name} is no text.", RIGHT_FILES)
        titled = {key: text(title) for key, title in listed.items() if one_line(text(title))}
        position: dict[str, int] = {}
        for number, title in enumerate(titled.values()):
            position.setdefault(title, number)
        return cls(
            ids=tuple(titled),
            titles=tuple(titled.values()),
            position=position,
            num_untitled=len(listed) - len(titled),
        )

    def counts(self) -> dict[str, int]:
        mended = sum(one_line(title) != title.strip() for title in self.titles)
        untitled = {f"rejected: {NO_TITLE}": self.num_untitled} if self.num_untitled else {}
        return {**untitled, "titles mended": mended}


def _cell(sample: object, key: str, where: str) -> str:
    value = sample.get(key) if isinstance(sample, dict) else None
    if not isinstance(value, str):
        raise BenchError(f"{where} has no text {key!r}.", RIGHT_FILES)
    return text(value)


def _json(path: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Read a whole file as one JSON value; a list or an object is asked for."""
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
