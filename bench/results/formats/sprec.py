"""Generations in SPRec's file format, and their metrics as SPRec's scorer computes them.

A file is a JSON list of `{"instruction", "input", "output", "predict": [text, …]}`, as the programs
of BIGRec and SPRec (Gao et al., WWW 2025) write it. A folder beside it holds `id2name.json`,
`name2genre.json` and `genre_dict.json`; every file may be gzipped. Histories are read out of the
prompts, as the scorer does, so a title that contains a double quote falls apart there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.catalog import Catalog
from bench.data.windows import PADDING
from bench.errors import BenchError
from bench.files import read_json
from bench.metrics.evaluate import evaluate
from bench.models.lm.encode.grounding import TextEncoder, ground

TEXTS = ("instruction", "input", "output")
KEYS = (*TEXTS, "predict")
QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class SprecRow:
    """One case.

    Attributes:
        history: Titles between double quotes in the prompt, in its order.
        target: The title that came next, without the spaces and quotes around it.
        text: What the model wrote; of several texts the first, the only one that is scored.
    """

    history: tuple[str, ...]
    target: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SprecFolder:
    """What the folder says about the items.

    Attributes:
        catalog: The items in the order of their ids; `genre_dict.json` names what is tracked.
        without_id: Titles with tracked categories that no id has. The scorer counts them in
            histories, but nothing can recommend them.
    """

    catalog: Catalog
    without_id: frozenset[str]


def read_sprec(path: Path) -> tuple[SprecRow, ...]:
    """Read a file of generations.

    Raises:
        BenchError: The file cannot be read or is no JSON list, or a row lacks a key, has one of
            another type or has no prediction.
    """
    listed = read_json(path)
    if not isinstance(listed, list):
        raise BenchError(f"{path.name} is not a JSON list.", "Write one list of objects.")
    if not listed:
        raise BenchError(f"{path.name} is empty.", "Check that it was written to its end.")
    return tuple(
        _row(row, f"Row {number} of {path.name}") for number, row in enumerate(listed, start=1)
    )


def _row(row: object, place: str) -> SprecRow:
    if not isinstance(row, dict):
        raise BenchError(f"{place} is not an object.", f"Its keys must be {', '.join(KEYS)}.")
    for key in KEYS:
        if key not in row:
            raise BenchError(f"{place} has no {key!r}.", f"Its keys must be {', '.join(KEYS)}.")
    for key in TEXTS:
        if not isinstance(row[key], str):
            raise BenchError(f"{place}: {row[key]!r:.60} in {key!r} is not text.", "Write a text.")
    predict = row["predict"]
    if not isinstance(predict, list) or not all(isinstance(text, str) for text in predict):
        raise BenchError(
            f"{place}: {predict!r:.60} in 'predict' is not a list of texts.",
            "Write what the model generated as a list, also if it is one text.",
        )
    if not predict:
        raise BenchError(
            f"{place} has an empty list in 'predict'.",
            "The papers' scorer would skip it and match all later rows with the wrong targets: "
            'write [""] where the model gave no answer.',
        )
    return SprecRow(
        history=tuple(QUOTED.findall(row["input"])),
        target=row["output"].strip().strip('"'),
        text=predict[0],
    )


def read_sprec_folder(folder: Path) -> SprecFolder:
    """Read the three files about the items.

    Raises:
        BenchError: A file is missing or is not as it must be, the ids are not 0, 1, 2, …, a title
            has two of them, or no category is tracked.
    """
    titles = _titles(_object(folder, "id2name.json"))
    tracked = tuple(_object(folder, "genre_dict.json"))
    if not tracked:
        raise BenchError(
            "genre_dict.json names no category.", "Its keys are the categories to track."
        )
    categories = {}
    for title, names in _object(folder, "name2genre.json").items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BenchError(
                f"name2genre.json: the categories of {title!r} are not a list of texts.",
                "Write a list of names, which may be empty.",
            )
        categories[title] = tuple(names)
    strange = {
        title for title in categories.keys() - set(titles) if {*categories[title]} & {*tracked}
    }
    return SprecFolder(
        catalog=Catalog(
            ids=tuple(str(number) for number in range(len(titles))),
            titles=titles,
            categories=tuple(categories.get(title, ()) for title in titles),
            tracked=tracked,
        ),
        without_id=frozenset(strange),
    )


def _titles(names: dict[str, object]) -> tuple[str, ...]:
    """Put the titles in the order of their ids, and make sure that each stands for one item."""
    titles: dict[str, str] = {}
    for id_ in map(str, range(len(names))):
        if id_ not in names:
            raise BenchError(
                f"id2name.json has {len(names)} titles, but none with the id {id_}.",
                "Number the titles from 0 without gaps.",
            )
        title = names[id_]
        if not isinstance(title, str):
            raise BenchError(f"id2name.json: the title of {id_} is not text.", "Write a text.")
        if title in titles:
            raise BenchError(
                f"id2name.json: {titles[title]} and {id_} have the same title, {title!r}.",
                "This format tells items apart by their titles: give each title one id.",
            )
        titles[title] = id_
    if not titles:
        raise BenchError("id2name.json names no item.", "Check that it was written to its end.")
    return tuple(titles)


def score_sprec(
    rows: Sequence[SprecRow], folder: SprecFolder, encoder: TextEncoder, ks: Sequence[int]
) -> dict[str, float]:
    """Ground the texts and compute every metric (see `bench.metrics.evaluate`).

    Args:
        rows: The cases, in the file's order.
        folder: The items.
        encoder: Sentence encoder of both the texts and the titles.
        ks: Lengths of the lists, from 1 to the number of items.

    Returns:
        Value of each metric by its name; Hallucination is the share of texts whose quoted part is
        no title.

    Raises:
        BenchError: A history has a title with categories but without an id, no target is known, or
            a k is out of range.
    """
    for number, row in enumerate(rows, start=1):
        for title in row.history:
            if title in folder.without_id:
                raise BenchError(
                    f"Row {number}: {title!r} in the history has categories in name2genre.json, "
                    "but no id in id2name.json.",
                    "Give it an id, or take it out of name2genre.json so that it counts nowhere.",
                )
    catalog = folder.catalog
    ranking = ground([row.text for row in rows], catalog.titles, encoder, max(ks))
    position = {title: place for place, title in enumerate(catalog.titles)}
    longest = max(len(row.history) for row in rows)
    histories = np.full((len(rows), longest), PADDING, dtype=np.int32)
    for places, row in zip(histories, rows, strict=True):
        places[: len(row.history)] = [position.get(title, PADDING) for title in row.history]
    targets = np.array([position.get(row.target, PADDING) for row in rows], dtype=np.int32)
    return evaluate(ranking, targets=targets, histories=histories, catalog=catalog, ks=ks).metrics


def _object(folder: Path, name: str) -> dict[str, object]:
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise BenchError(
            f"There is no {name} in {folder}.",
            "A folder in SPRec's format holds id2name.json, name2genre.json and genre_dict.json, "
            "each also with .gz.",
        )
    content = read_json(path)
    if not isinstance(content, dict):
        raise BenchError(f"{path.name} is not a JSON object.", "Write keys with values.")
    return content
