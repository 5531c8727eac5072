"""Generations in SPRec's file format, and their metrics as SPRec's scorer computes them.

A file is a JSON list of `{"instruction", "input", "output", "predict": [text, …]}`, as the programs
of BIGRec and SPRec (Gao et al., WWW 2025) write it. Its items folder has `id2name.json`,
`name2genre.json` and `genre_dict.json`; every file may be gzipped. Histories are read from the
prompts, as the scorer does, so a title that contains a double quote is split there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.files import read_json, read_rows
from bench.metrics.evaluate import evaluate
from bench.models.lm.encode.grounding import TextEncoder, ground
from bench.results.score_file import index_items

QUOTED = re.compile(r'"([^"]*)"')
FILES = ("id2name.json", "name2genre.json", "genre_dict.json")


class Generation(BaseModel):
    """One row of a file, as SPRec's programs write it."""

    model_config = ConfigDict(frozen=True)

    instruction: str
    input: str
    output: str
    predict: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SprecRow:
    """One case.

    Attributes:
        history: Titles between double quotes in the prompt, in its order.
        text: The generated text; of several texts the first, the only one that is scored.
    """

    history: tuple[str, ...]
    target: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SprecFolder:
    """The items.

    Attributes:
        catalog: The items in the order of their ids; `genre_dict.json` names what is tracked.
        without_id: Titles with tracked categories but without an id. The scorer counts them in
            histories, but nothing can recommend them.
    """

    catalog: Catalog
    without_id: frozenset[str]


def read_sprec(path: Path) -> tuple[SprecRow, ...]:
    """Read a file of generations.

    Raises:
        BenchError: If the file cannot be read or is not a JSON list, or a row is invalid.
    """
    rows = []
    for location, row in read_rows(path, Generation):
        if not row.predict:
            raise BenchError(
                f"{location} has an empty list in 'predict'.",
                "The papers' scorer would skip it and match all later rows with the wrong targets: "
                'write [""] where the model gave no answer.',
            )
        rows.append(
            SprecRow(
                history=tuple(QUOTED.findall(row.input)),
                target=row.output.strip().strip('"'),
                text=row.predict[0],
            )
        )
    return tuple(rows)


def read_sprec_folder(folder: Path) -> SprecFolder:
    """Read the three files about the items.

    Raises:
        BenchError: If a file is missing or invalid, the ids are not 0, 1, 2, …, a title has two of
            them, or no category is tracked.
    """
    names, genres, tracked = (_read_object(folder, name) for name in FILES)
    titles = _order_titles(names)
    if not tracked:
        raise BenchError("genre_dict.json names no category.", "Its keys are the tracked ones.")
    categories = {}
    for title, values in genres.items():
        if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
            message = f"name2genre.json: the categories of {title!r} are not a list of texts."
            raise BenchError(message, "Write a list of names, which may be empty.")
        categories[title] = tuple(values)
    return SprecFolder(
        catalog=Catalog(
            ids=tuple(str(number) for number in range(len(titles))),
            titles=titles,
            categories=tuple(categories.get(title, ()) for title in titles),
            tracked=tuple(tracked),
        ),
        without_id=frozenset(
            title
            for title in categories.keys() - set(titles)
            if tracked.keys() & set(categories[title])
        ),
    )


def _order_titles(names: dict[str, object]) -> tuple[str, ...]:
    """Order the titles by their ids; each must name exactly one item."""
    ids: dict[str, str] = {}
    for id_ in map(str, range(len(names))):
        if id_ not in names:
            message = f"id2name.json has {len(names)} titles, but none with the id {id_}."
            raise BenchError(message, "Number the titles from 0 without gaps.")
        title = names[id_]
        if not isinstance(title, str):
            raise BenchError(f"id2name.json: the title of {id_} is not text.", "Write a text.")
        if title in ids:
            raise BenchError(
                f"id2name.json: {ids[title]} and {id_} have the same title, {title!r}.",
                "This format identifies items by their titles: give each title one id.",
            )
        ids[title] = id_
    if not ids:
        raise BenchError("id2name.json names no item.", "Check that it was written completely.")
    return tuple(ids)


def score_sprec(
    rows: Sequence[SprecRow], folder: SprecFolder, encoder: TextEncoder, ks: Sequence[int]
) -> dict[str, float]:
    """Ground the texts and compute every metric (see `bench.metrics.evaluate`).

    The encoder embeds texts and titles; each k is from 1 to the number of items. Hallucination is
    the fraction of texts whose quoted part is no title.

    Raises:
        BenchError: If a history has a title with categories but without an id, no target is in the
            catalog, or a k is out of range.
    """
    for number, row in enumerate(rows, start=1):
        for title in row.history:
            if title in folder.without_id:
                raise BenchError(
                    f"Row {number}: {title!r} in the history has categories in name2genre.json, "
                    "but no id in id2name.json.",
                    "Give it an id, or remove it from name2genre.json so that it counts nowhere.",
                )
    catalog = folder.catalog
    ranking = ground([row.text for row in rows], catalog.titles, encoder, max(ks))
    index_of = {title: index for index, title in enumerate(catalog.titles)}
    targets = index_items([(row.target,) for row in rows], index_of)[:, 0]
    histories = index_items([row.history for row in rows], index_of)
    return evaluate(ranking, targets=targets, histories=histories, catalog=catalog, ks=ks).metrics


def _read_object(folder: Path, name: str) -> dict[str, object]:
    paths = (folder / name, folder / f"{name}.gz")
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise BenchError(
            f"There is no {name} in {folder}.",
            f"A folder in SPRec's format has {', '.join(FILES)}, each also with .gz.",
        )
    content = read_json(path)
    if not isinstance(content, dict):
        raise BenchError(f"{path.name} is not a JSON object.", "Write keys with values.")
    return content
