"""Prepared data in the formats of other projects.

recbole   atomic files: .inter, .item (all interactions, in our order)
d3        one CSV per split in D3's columns, and its catalog `title TAB id`
sprec     one JSON list per split (instruction, input, output) and SPRec's maps
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.config.cards import Nouns
from bench.data.prepared import SPLITS, Prepared
from bench.errors import unknown
from bench.files import write_atomic

D3_COLUMNS = (
    "user_id", "item_asins", "item_asin", "history_item_id", "item_id", "history_item_title",
    "item_title", "history_rating", "rating", "history_timestamp", "timestamp",
)  # fmt: skip


def export_data(
    prepared: Prepared, format_name: str, folder: Path, *, name: str, nouns: Nouns
) -> list[Path]:
    """Write prepared data as "recbole", "d3" or "sprec"; return the paths written.

    File names contain the data set's name; nouns say what its items are called in prompts.
    """
    formats: dict[str, Callable[[], dict[str, str]]] = {
        "recbole": lambda: _recbole(prepared, name),
        "d3": lambda: _d3(prepared, name),
        "sprec": lambda: _sprec(prepared, nouns),
    }
    if format_name not in formats:
        raise unknown("export format", format_name, formats)
    files = {folder / file: text for file, text in formats[format_name]().items()}
    for path, text in files.items():
        write_atomic(path, text.encode())
    return list(files)


def _recbole(prepared: Prepared, name: str) -> dict[str, str]:
    catalog = prepared.catalog
    rated = bool((~np.isnan(prepared.ratings)).any())
    heads = ["user_id:token", "item_id:token", *(["rating:float"] * rated), "timestamp:float"]
    inter = ["\t".join(heads)]
    for user, item, rating, time in zip(
        prepared.users, prepared.items, prepared.ratings, prepared.times, strict=True
    ):
        cells = [prepared.user_ids[user], catalog.ids[item]]
        if rated:  # the shortest digits that are read back as the same number
            cells.append("" if np.isnan(rating) else str(rating))
        inter.append("\t".join([*cells, str(time)]))
    items = ["item_id:token\ttitle:token_seq\tcategories:token_seq"]
    for key, title, names in zip(catalog.ids, catalog.titles, catalog.categories, strict=True):
        # A token_seq is split on spaces, so a category of several words is joined.
        joined = " ".join("_".join(each.split()) for each in names)
        items.append(f"{key}\t{title}\t{joined}")
    return {f"{name}.inter": _lines(inter), f"{name}.item": _lines(items)}


def _d3(prepared: Prepared, name: str) -> dict[str, str]:
    files = {
        f"{name}.info.txt": _lines(
            [f"{title}\t{item}" for item, title in enumerate(prepared.catalog.titles)]
        )
    }
    for split in SPLITS:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(D3_COLUMNS)
        writer.writerows(_d3_row(prepared, sample) for sample in prepared.sample_range(split))
        files[f"{name}.{split}.csv"] = text.getvalue()
    return files


def _d3_row(prepared: Prepared, sample: int) -> list[object]:
    start, target = int(prepared.start[sample]), int(prepared.target[sample])
    catalog, items = prepared.catalog, prepared.items.tolist()[start : target + 1]
    *seen, item = items
    ratings = [float(rating) for rating in prepared.ratings[start : target + 1]]
    times = prepared.times[start : target + 1].tolist()
    return [
        prepared.user_ids[prepared.users[target]],
        [catalog.ids[each] for each in seen],
        catalog.ids[item],
        seen,
        item,
        [catalog.titles[each] for each in seen],
        catalog.titles[item],
        ratings[:-1],
        ratings[-1],
        times[:-1],
        times[-1],
    ]


def _sprec(prepared: Prepared, nouns: Nouns) -> dict[str, str]:
    catalog = prepared.catalog
    names = list(dict.fromkeys(catalog.titles))
    tracked = set(catalog.tracked)
    genres: dict[str, list[str]] = {}
    for title, categories in zip(catalog.titles, catalog.categories, strict=True):
        genres.setdefault(title, []).extend(each for each in categories if each in tracked)
    files = {
        "id2name.json": {str(number): title for number, title in enumerate(names)},
        "name2id.json": {title: number for number, title in enumerate(names)},
        "name2genre.json": {title: list(dict.fromkeys(genres[title])) for title in names},
        "genre_dict.json": dict.fromkeys(catalog.tracked, 0),
        **{f"{split}.json": list(_sprec_rows(prepared, split, nouns)) for split in SPLITS},
    }
    return {name: json.dumps(content, ensure_ascii=False) for name, content in files.items()}


def _sprec_rows(prepared: Prepared, split: str, nouns: Nouns) -> Iterator[dict[str, str]]:
    titles = prepared.catalog.titles
    windows = prepared.windows(np.array(prepared.sample_range(split), dtype=np.int64))
    for history, target in zip(windows.histories, windows.targets, strict=True):
        history_titles = ", ".join(f'"{titles[item]}"' for item in history if item >= 0)
        yield {
            "instruction": f"From the {nouns.plural} a user enjoyed lately, recommend a new "
            f"{nouns.singular}.",
            "input": f"The user enjoyed these {nouns.plural}: {history_titles}. Name a new "
            f"{nouns.singular}.",
            "output": f'"{titles[target]}"\n',
        }


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
