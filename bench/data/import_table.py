"""Own interactions, as CSV, TSV, parquet or a data set of the hub, become a data set with a card.

The tables are written as RecBole's atomic files into the asset cache, under their checksums, and
the card names them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
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

NAMES: Mapping[str, Sequence[str]] = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid", "visitorid"),
    "item": ("item", "itemid", "iid", "movieid", "bookid", "productid", "asin", "parentasin"),
    "time": ("time", "timestamp", "date", "datetime", "unixreviewtime", "createdat"),
    "rating": ("rating", "stars", "score", "overall"),
    "title": ("title", "name", "itemname", "productname"),
    "categories": ("categories", "category", "genres", "genre", "class", "tags"),
}
"""Column names that are recognized, without case, spaces and underscores."""
REQUIRED = ("user", "item", "time")
HUB = "hf:"
MILLISECONDS = 1e11
"""Numbers of a time column above this are milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A data set that was imported.

    Attributes:
        card: Text of its card.
        columns: Column by meaning, as it was used.
        rows: Number of interactions.
    """

    card: str
    columns: Mapping[str, str]
    rows: int


def import_table(
    name: str, interactions: str, items: str | None = None, columns: Mapping[str, str] | None = None
) -> Imported:
    """Write a table of interactions, and one of items, into the cache; return the card.

    Args:
        name: Of the data set.
        interactions: Path of a CSV, TSV or parquet file, or `hf:ORG/NAME`.
        items: The same with an item per row; without it titles are item ids.
        columns: Column by meaning (`NAMES`), over what is guessed.

    Raises:
        BenchError: A file cannot be read, or a column is missing or ambiguous.
    """
    table = _read(interactions)
    own = dict(columns or {})
    unknown_meanings = own.keys() - NAMES.keys()
    assert not unknown_meanings, unknown_meanings
    interaction_columns = {
        meaning: _find_column(table, meaning, own, required=meaning in REQUIRED)
        for meaning in ("user", "item", "time", "rating")
    }
    catalog = (
        table[[interaction_columns["item"]]].drop_duplicates() if items is None else _read(items)
    )
    item_columns = {
        "item": _find_column(catalog, "item", own, required=True),
        **{
            meaning: _find_column(catalog, meaning, own, required=False)
            for meaning in ("title", "categories")
            if items is not None
        },
    }
    used = {key: value for key, value in {**item_columns, **interaction_columns}.items() if value}
    files = {
        "interactions": _write(f"{name}.inter", _atomic_interactions(table, interaction_columns)),
        "items": _write(f"{name}.item", _atomic_items(catalog, item_columns)),
    }
    return Imported(card=_card(name, files, used), columns=used, rows=len(table))


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


def _find_column(
    table: pd.DataFrame, meaning: str, own: Mapping[str, str], *, required: bool
) -> str:
    names = [str(column) for column in table.columns]
    if meaning in own:
        if own[meaning] in names:
            return own[meaning]
        raise BenchError(
            f"There is no column {own[meaning]!r} for --{meaning}.", f"Columns: {', '.join(names)}."
        )
    matches = [name for name in names if re.sub(r"[\W_]", "", name).lower() in NAMES[meaning]]
    if len(matches) > 1 or (required and not matches):
        what = "is ambiguous" if matches else "was not recognized"
        raise BenchError(
            f"The column of the {meaning} {what}.",
            f"Name it with --{meaning}. Columns: {', '.join(matches or names)}.",
        )
    return matches[0] if matches else ""


def _atomic_interactions(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    lines = ["user:token\titem:token\ttime:float" + ("\trating:float" * bool(columns["rating"]))]
    times = _seconds(table[columns["time"]])
    values = [table[columns[name]].map(_clean) for name in ("user", "item")]
    values.append(times.map(lambda seconds: f"{seconds:.0f}"))
    if columns["rating"]:
        values.append(table[columns["rating"]].map(_clean))
    lines += ["\t".join(row) for row in zip(*values, strict=True)]
    return "\n".join(lines) + "\n"


def _seconds(column: pd.Series[Any]) -> pd.Series[float]:
    """Return times as seconds since 1970: numbers of seconds or milliseconds, or dates."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        try:
            dates = pd.to_datetime(column, utc=True, format="mixed")
        except (ValueError, TypeError) as error:
            raise BenchError(
                f"The column {column.name!r} holds neither times nor dates: {error}.",
                "Name another with --time.",
            ) from error
        return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return numbers / 1000 if numbers.max() > MILLISECONDS else numbers


def _atomic_items(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    item, title, categories = (columns.get(name) for name in ("item", "title", "categories"))
    lines = ["item:token\ttitle:token" + ("\tcategories:token_seq" * bool(categories))]
    seen = set()
    for row in table.to_dict("records"):
        identifier = _clean(row[item])
        if identifier not in seen:
            seen.add(identifier)
            cells = [identifier, _clean(row[title or item])]
            if categories:
                cells.append(_split_categories(row[categories]))
            lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


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
    quoted = json.dumps  # TOML's basic strings are JSON's
    lines = [
        f"title = {quoted(name)}",
        'description = "Imported by bench data import."',
        'license = "Not stated: add the terms before you publish results."',
        'citation = "Own data."',
        'reader = "recbole"',
    ]
    for role, file in files.items():
        lines += [
            f"\n[files.{role}]",
            f"name = {quoted(file.name)}",
            f'sha256 = "{file.sha256}"',
            f"size = {file.size}",
        ]
    lines += ["\n[fields]", 'user = "user"', 'item = "item"', 'time = "time"', 'title = "{title}"']
    lines += [f'{each} = "{each}"' for each in ("rating", "categories") if each in used]
    lines += [
        "\n[split] # samples ordered by time; a sample has up to 10 earlier items, at least 3",
        "history = 10",
        "min_history = 3",
        "ratios = [8, 1, 1]",
    ]
    return "\n".join(lines) + "\n"
