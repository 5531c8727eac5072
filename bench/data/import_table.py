"""Own interactions, as CSV, TSV, parquet or a data set of the hub, become a data set with a card.

The tables are written as RecBole's atomic files into the asset cache, under their checksums, and
the card names them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.cards import RawFile
from bench.data.assets import cached_path
from bench.errors import BenchError
from bench.files import write_atomic
from bench.hashing import checksum

if TYPE_CHECKING:
    import pandas as pd

NOUNS = ("item", "product", "movie", "film", "book", "song", "track", "game", "article", "recipe")
NAMES: Mapping[str, Sequence[Sequence[str]]] = {
    "user": (
        ("userid", "uid", "customerid", "reviewerid", "visitorid"),
        ("user", "customer", "reviewer", "visitor"),
    ),
    "item": ((*(f"{noun}id" for noun in NOUNS), "iid", "asin", "parentasin"), NOUNS),
    "time": (("time", "timestamp", "date", "datetime", "unixreviewtime", "createdat"),),
    "rating": (("rating", "stars", "score", "overall"),),
    "title": (
        ("title", *(f"{noun}title" for noun in NOUNS)),
        ("name", *(f"{noun}name" for noun in NOUNS)),
        NOUNS,
    ),
    "categories": (("categories", "category", "genres", "genre", "class", "tags"),),
}
"""Column names that are recognized, the first ones before the others; see `_normalize`."""
REQUIRED = ("user", "item", "time")
HUB = "hf:"
MILLISECONDS = 1e11
"""Numbers of a time column above this are milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The text of a data set's card, its columns, and the number of interactions.

    `columns` are by meaning, "" for none; `unused` are the others.
    """

    card: str
    columns: Mapping[str, str]
    unused: Sequence[str]
    rows: int


def import_table(
    name: str, interactions: str, items: str | None = None, columns: Mapping[str, str] | None = None
) -> Imported:
    """Write a table of interactions, and one of items, into the cache; return the card.

    Both are a path of a CSV, TSV or parquet file, or `hf:ORG/NAME`; without items, the interactions
    hold titles and categories. `columns` by meaning (`NAMES`) take precedence over those that are
    guessed.

    Raises:
        BenchError: A file cannot be read, or a column is missing or ambiguous.
    """
    table = _read(interactions)
    own = columns or {}
    assert own.keys() <= NAMES.keys(), own
    interaction_columns = _find_columns(table, ("user", "item", "time", "rating"), own)
    catalog = table if items is None else _read(items)
    item = interaction_columns["item"]
    item_columns = _find_columns(catalog, ("item",), {"item": item} if item in catalog else {})
    item = item_columns["item"]
    excluded = [item, *(_list_varying(table, item) if items is None else ())]
    item_columns |= _find_columns(catalog, ("title", "categories"), own, excluded)
    used = {**item_columns, **interaction_columns}
    taken = {*item_columns.values(), *interaction_columns.values()}
    files = {
        "interactions": _write(f"{name}.inter", _atomic_interactions(table, interaction_columns)),
        "items": _write(f"{name}.item", _atomic_items(catalog, item_columns)),
    }
    return Imported(
        card=_card(name, files, used),
        columns={meaning: used.get(meaning, "") for meaning in NAMES},
        unused=[each for each in dict.fromkeys([*table, *catalog]) if each not in taken],
        rows=len(table),
    )


def _read(source: str) -> pd.DataFrame:
    import pandas as pd

    if source.startswith(HUB):
        try:
            library = import_module("datasets")
        except ImportError as error:
            raise BenchError(f"{source} needs `datasets`.", "pip install datasets") from error
        table: pd.DataFrame = library.load_dataset(source[len(HUB) :], split="train").to_pandas()
        return table
    path = Path(source)
    if not path.is_file():
        raise BenchError(f"There is no file {path}.", "Give a CSV, TSV or parquet file.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        separator = "\t" if path.suffix in (".tsv", ".txt") else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise BenchError(f"{path} cannot be read: {error}.", "Check its format.") from error


def _find_columns(
    table: pd.DataFrame,
    meanings: Sequence[str],
    own: Mapping[str, str],
    excluded: Collection[str] = (),
) -> dict[str, str]:
    """Return the column of each meaning; only those in `REQUIRED` must have one.

    Columns that are excluded are not guessed.
    """
    names = [str(column) for column in table.columns]
    columns: dict[str, str] = {}
    for meaning in meanings:
        matches: list[str] = []
        for words in NAMES[meaning]:
            matches = matches or [
                name for name in names if _normalize(name) in words and name not in excluded
            ]
        if meaning in own:
            if own[meaning] not in names:
                message = f"There is no column {own[meaning]!r} for --{meaning}."
                raise BenchError(message, f"Columns: {', '.join(names)}.")
            matches = [own[meaning]]
        if len(matches) > 1 or (meaning in REQUIRED and not matches):
            what = "is ambiguous" if matches else "was not recognized"
            raise BenchError(
                f"The column of the {meaning} {what}.",
                f"Name it with --{meaning}. Columns: {', '.join(matches or names)}.",
            )
        if matches:
            columns[meaning] = matches[0]
    return columns


def _normalize(name: str) -> str:
    """Write the name of a column without case, spaces and underscores."""
    return re.sub(r"[\W_]", "", name).lower()


def _list_varying(table: pd.DataFrame, item: str) -> list[str]:
    """List the columns with several values per item, which describe no item."""
    texts = table.astype(str)
    pairs = (texts[[item, column]].drop_duplicates() for column in table if column != item)
    return [pair.columns[1] for pair in pairs if pair[item].duplicated().any()]


def _atomic_interactions(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    values = {
        "user:token": table[columns["user"]].map(_clean),
        "item:token": table[columns["item"]].map(_clean),
        "time:float": _seconds(table[columns["time"]]).map("{:.0f}".format),
    }
    if "rating" in columns:
        values["rating:float"] = table[columns["rating"]].map(_clean)
    return _join_rows(values)


def _seconds(column: pd.Series[Any]) -> pd.Series[float]:
    """Return times as seconds since 1970: numbers of seconds or milliseconds, or dates."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        try:
            dates = pd.to_datetime(column, utc=True, format="mixed")
        except (ValueError, TypeError) as error:
            message = f"The column {column.name!r} holds neither times nor dates: {error}."
            raise BenchError(message, "Name another with --time.") from error
        return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return numbers / 1000 if numbers.max() > MILLISECONDS else numbers


def _atomic_items(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    ids = table[columns["item"]].map(_clean)
    is_first = ~ids.duplicated()
    titles = table[columns.get("title", columns["item"])]
    values = {"item:token": ids[is_first], "title:token": titles[is_first].map(_clean)}
    if "categories" in columns:
        names = table[columns["categories"]][is_first]
        values["categories:token_seq"] = names.map(_split_categories)
    return _join_rows(values)


def _join_rows(columns: Mapping[str, Iterable[str]]) -> str:
    """Write columns of cells without tabs and line feeds as one text."""
    rows = [columns, *zip(*columns.values(), strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)


def _split_categories(value: Any) -> str:
    """Write categories, a list or a text with `|`, `;` or `,` between them, as one sequence."""
    parts = re.split(r"[|;,]", value) if isinstance(value, str) else list(value)
    return " ".join(_clean(part).replace(" ", "_") for part in parts if _clean(part))


def _clean(value: Any) -> str:
    return re.sub(r"\s+", " ", str(value)).strip()


def _write(name: str, text: str) -> RawFile:
    """Write a file into the cache under its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        file = RawFile(name=name, sha256=checksum(path), size=path.stat().st_size)
        write_atomic(cached_path(file), path.read_bytes())
    return file


def _card(name: str, files: Mapping[str, RawFile], used: Mapping[str, str]) -> str:
    quote = json.dumps  # TOML's basic strings are JSON's
    sections = "".join(
        f"\n[files.{role}]\nname = {quote(file.name)}\n"
        f'sha256 = "{file.sha256}"\nsize = {file.size}\n'
        for role, file in files.items()
    )
    noun = _normalize(used["item"]).removesuffix("id")
    noun = noun if noun in NOUNS else NOUNS[0]
    optional = "".join(f'{each} = "{each}"\n' for each in ("rating", "categories") if each in used)
    return f"""\
title = {quote(name)}
description = "Imported by bench data import."
license = "Not stated: add the terms before you publish results."
citation = "Own data."
reader = "recbole"

[nouns] # how prompts call the items
singular = "{noun}"
plural = "{noun}s"
{sections}
[fields]
user = "user"
item = "item"
time = "time"
title = "{{title}}"
{optional}
[split] # samples ordered by time; a sample has up to 10 earlier items, at least 3
history = 10
min_history = 3
ratios = [8, 1, 1]
"""
