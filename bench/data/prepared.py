"""A prepared data set: catalog, sorted interactions, samples; and how it lies in a folder.

    interactions.parquet  a line an interaction, sorted by user, time and line of the raw file
    samples.parquet       a line a sample, in order of the target's time: two offsets into the above
    items.parquet, users.parquet   ids by position; titles and categories of items
    data.json             boundaries of the splits, tracked categories, counts, fingerprint

A draw from a split lies in a folder of its own, as `rows.parquet`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.split import covered
from bench.data.windows import PADDING, Windows
from bench.errors import BenchError, unknown
from bench.hashing import canonical_json

FORMAT = "prepared data 1"
SPLITS = ("train", "valid", "test")
PREPARE_AGAIN = "Remove that folder from the store and run again."


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """L interactions sorted by user and time, and N samples over them.

    Attributes:
        catalog: The items; in the order of the item file unless the card has them shuffled.
        user_ids: Source ids of the users, in order of first appearance.
        users: User positions, ascending, shape (L,).
        items: Item positions, shape (L,).
        ratings: NaN where there is none, shape (L,).
        times: Seconds since 1970, UTC, shape (L,).
        start: First interaction of each sample's history, shape (N,).
        target: Interaction that each sample predicts, shape (N,).
        boundaries: Where train and valid end among the samples.
        history: Longest history of a sample, H.
        counts: Sizes by name: users, items, interactions, train, what was rejected and why.
        notes: What a reader of the results should know, in sentences.
    """

    catalog: Catalog
    user_ids: tuple[str, ...]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    start: NDArray[np.int64]
    target: NDArray[np.int64]
    boundaries: tuple[int, int]
    history: int
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def sample_range(self, split: str) -> range:
        """Return the samples of a split: "train", "valid" or "test"."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        ends = (0, *self.boundaries, len(self.target))
        place = SPLITS.index(split)
        return range(ends[place], ends[place + 1])

    def num(self, split: str) -> int:
        """Return how many samples a split has."""
        return len(self.sample_range(split))

    def windows(self, samples: Sequence[int] | NDArray[np.int64]) -> Windows:
        """Return samples as arrays, in the order asked for.

        Args:
            samples: Numbers of samples, any split, shape (N,).
        """
        chosen = np.asarray(samples, dtype=np.int64)
        start, target = self.start[chosen], self.target[chosen]
        offsets = start[:, None] + np.arange(self.history)
        inside = offsets < target[:, None]
        return Windows(
            users=self.users[target],
            histories=np.where(inside, self.items[np.where(inside, offsets, 0)], PADDING).astype(
                np.int32, copy=False
            ),
            targets=self.items[target],
        )

    def train_interactions(self) -> NDArray[np.int64]:
        """Return the interactions that occur in training samples, each once, ascending."""
        train = slice(0, self.boundaries[0])
        return covered(self.start[train], self.target[train], len(self.users))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all that decides a result, whatever wrote or stored it.

        Covers ids, titles, categories, interactions, samples, boundaries; not counts and notes.
        """
        catalog = self.catalog
        hasher = hashlib.sha256()
        for texts in (catalog.ids, catalog.titles, catalog.categories, catalog.tracked):
            hasher.update(canonical_json(texts).encode() + b"\n")
        hasher.update(canonical_json(self.user_ids).encode() + b"\n")
        hasher.update(canonical_json([*self.boundaries, self.history]).encode() + b"\n")
        # A NaN has many bit patterns, and which one a library writes is its own affair.
        ratings = np.where(np.isnan(self.ratings), np.float32(np.nan), self.ratings)
        for column in (self.users, self.items, self.times, self.start, self.target):
            hasher.update(np.ascontiguousarray(column, dtype="<i8").data)
        hasher.update(np.ascontiguousarray(ratings, dtype="<f4").data)
        return hasher.hexdigest()


def write(prepared: Prepared, folder: Path) -> None:
    """Write prepared data into an existing folder."""
    catalog = prepared.catalog
    tables: dict[str, dict[str, Any]] = {
        "interactions": {
            "user": prepared.users,
            "item": prepared.items,
            "rating": prepared.ratings,
            "time": prepared.times,
        },
        "samples": {"start": prepared.start, "target": prepared.target},
        "items": {
            "id": pa.array(catalog.ids, pa.string()),
            "title": pa.array(catalog.titles, pa.string()),
            "categories": pa.array(catalog.categories, pa.list_(pa.string())),
        },
        "users": {"id": pa.array(prepared.user_ids, pa.string())},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    content = {
        "format": FORMAT,
        "fingerprint": prepared.fingerprint,
        "boundaries": list(prepared.boundaries),
        "history": prepared.history,
        "tracked": list(catalog.tracked),
        "counts": dict(prepared.counts),
        "notes": list(prepared.notes),
    }
    (folder / "data.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


@lru_cache(maxsize=2)
def shared(folder: Path) -> Prepared:
    """Read an artifact, which never changes, once a process: every stage of a trial needs it."""
    return read(folder)


def read(folder: Path) -> Prepared:
    """Read prepared data back.

    Raises:
        BenchError: The folder holds something else, or no longer what was written.
    """
    try:
        content = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise BenchError(f"{folder} holds no {FORMAT}.", PREPARE_AGAIN)
        prepared = _assemble(folder, content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{folder} holds no prepared data: {error}.", PREPARE_AGAIN) from error
    if prepared.fingerprint != content["fingerprint"]:
        raise BenchError(f"The prepared data in {folder} were changed.", PREPARE_AGAIN)
    return prepared


def _assemble(folder: Path, content: Mapping[str, Any]) -> Prepared:
    interactions = _columns(folder, "interactions", ("user", "item", "rating", "time"))
    samples = _columns(folder, "samples", ("start", "target"))
    items = pq.read_table(folder / "items.parquet")
    users = pq.read_table(folder / "users.parquet")
    train_end, valid_end = content["boundaries"]
    return Prepared(
        catalog=Catalog(
            ids=tuple(items["id"].to_pylist()),
            titles=tuple(items["title"].to_pylist()),
            categories=tuple(tuple(names) for names in items["categories"].to_pylist()),
            tracked=tuple(content["tracked"]),
        ),
        user_ids=tuple(users["id"].to_pylist()),
        users=interactions["user"],
        items=interactions["item"],
        ratings=interactions["rating"],
        times=interactions["time"],
        start=samples["start"],
        target=samples["target"],
        boundaries=(train_end, valid_end),
        history=content["history"],
        counts=content["counts"],
        notes=tuple(content["notes"]),
    )


def _columns(folder: Path, name: str, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    # A copy of its own: what pyarrow lends is read-only and keeps the whole table alive.
    table = pq.read_table(folder / f"{name}.parquet", columns=list(columns))
    return {column: table[column].to_numpy().copy() for column in columns}


def write_rows(rows: NDArray[np.int64], folder: Path) -> None:
    """Write drawn samples, in their order."""
    pq.write_table(pa.table({"sample": rows.astype(np.int64)}), folder / "rows.parquet")


@lru_cache(maxsize=8)
def shared_rows(folder: Path) -> NDArray[np.int64]:
    """Read a draw, which never changes, once a process; not to be written to."""
    rows = read_rows(folder)
    rows.flags.writeable = False
    return rows


def read_rows(folder: Path) -> NDArray[np.int64]:
    """Read drawn samples, in the order in which they were written, shape (N,).

    Raises:
        BenchError: The folder holds no draw.
    """
    try:
        return _columns(folder, "rows", ("sample",))["sample"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} holds no drawn samples: {error}.", PREPARE_AGAIN) from error
