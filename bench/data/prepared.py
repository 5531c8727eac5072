"""A prepared data set: catalog, sorted interactions, samples; and its folder in the store.

    interactions.parquet  one row per interaction, sorted by user, time and line of the raw file
    samples.parquet       one row per sample, in order of the target's time: two offsets into these
    items.parquet, users.parquet   ids in order of their index; titles and categories of items
    data.json             boundaries of the splits, tracked categories, counts, fingerprint

A subset of a split has a folder of its own, with `rows.parquet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.tables import Layout, hash_content, read_arrays, to_array, write_table
from bench.data.windows import PADDING, Windows, find_covered_interactions
from bench.errors import unknown

SPLITS = ("train", "valid", "test")
LAYOUT = Layout(
    what="prepared data",
    format="prepared data 1",
    json_name="data.json",
    tables=("interactions", "samples", "items", "users"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """L interactions sorted by user and time, and N samples over them.

    Attributes:
        catalog: The items, in the order of the item file unless the card shuffles them.
        user_ids: Source ids of the users, in order of first appearance.
        users: User indices, ascending, shape (L,).
        items: Item indices, shape (L,).
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
        index = SPLITS.index(split)
        return range(ends[index], ends[index + 1])

    def num(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self.sample_range(split))

    def windows(self, samples: Sequence[int] | NDArray[np.int64]) -> Windows:
        """Return samples as arrays.

        Args:
            samples: Indices of samples of any split, in any order, shape (N,).
        """
        indices = np.asarray(samples, dtype=np.int64)
        start, target = self.start[indices], self.target[indices]
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
        """Return the indices of the interactions in training samples, each once, ascending."""
        train = slice(0, self.boundaries[0])
        return find_covered_interactions(self.start[train], self.target[train], len(self.users))

    def sizes(self) -> dict[str, int]:
        """Return the numbers of users, items, titles, interactions and samples by name."""
        return {
            "users": len(self.user_ids),
            "items": len(self.catalog),
            "titles": len(set(self.catalog.titles)),
            "items with interactions": len(np.unique(self.items)),
            "interactions": len(self.items),
            "samples": len(self.target),
            **{split: self.num(split) for split in SPLITS},
        }

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of everything that decides a result, independent of how it is stored.

        Covers ids, titles, categories, interactions, samples, boundaries; not counts and notes.
        """
        catalog = self.catalog
        # A NaN has many bit patterns, and libraries differ in which one they write.
        ratings = np.where(np.isnan(self.ratings), np.float32(np.nan), self.ratings)
        return hash_content(
            (
                *(catalog.ids, catalog.titles, catalog.categories, catalog.tracked),
                *(self.user_ids, [*self.boundaries, self.history]),
                *(self.users, self.items, self.times, self.start, self.target, ratings),
            )
        )


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
    content = {
        "boundaries": list(prepared.boundaries),
        "history": prepared.history,
        "tracked": list(catalog.tracked),
        "counts": dict(prepared.counts),
        "notes": list(prepared.notes),
    }
    LAYOUT.write(prepared, folder, tables, content)


@lru_cache(maxsize=2)
def shared(folder: Path) -> Prepared:
    """Read prepared data once per process: every stage of a trial needs them."""
    return read(folder)


def read(folder: Path) -> Prepared:
    """Read prepared data back.

    Raises:
        BenchError: The folder contains something else, or was changed since.
    """
    return LAYOUT.read(folder, _assemble)


def _assemble(tables: Mapping[str, pa.Table], content: Mapping[str, Any]) -> Prepared:
    interactions, samples, items = (tables[name] for name in ("interactions", "samples", "items"))
    train_end, valid_end = content["boundaries"]
    return Prepared(
        catalog=Catalog(
            ids=tuple(items["id"].to_pylist()),
            titles=tuple(items["title"].to_pylist()),
            categories=tuple(tuple(names) for names in items["categories"].to_pylist()),
            tracked=tuple(content["tracked"]),
        ),
        user_ids=tuple(tables["users"]["id"].to_pylist()),
        users=to_array(interactions["user"], np.int32),
        items=to_array(interactions["item"], np.int32),
        ratings=to_array(interactions["rating"], np.float32),
        times=to_array(interactions["time"], np.int64),
        start=to_array(samples["start"], np.int64),
        target=to_array(samples["target"], np.int64),
        boundaries=(train_end, valid_end),
        history=content["history"],
        counts=content["counts"],
        notes=tuple(content["notes"]),
    )


def write_rows(rows: NDArray[np.int64], folder: Path) -> None:
    """Write sampled rows, in their order."""
    write_table(folder, "rows", {"sample": rows.astype(np.int64)})


@lru_cache(maxsize=8)
def shared_rows(folder: Path) -> NDArray[np.int64]:
    """Read sampled rows once per process, as a read-only array."""
    rows = read_rows(folder)
    rows.flags.writeable = False
    return rows


def read_rows(folder: Path) -> NDArray[np.int64]:
    """Read sampled rows in the order in which they were written, shape (N,).

    Raises:
        BenchError: The folder contains none.
    """
    return read_arrays(folder, "rows", "sampled rows", sample=np.int64)[0]
