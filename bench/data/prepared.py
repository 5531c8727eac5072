"""A prepared data set: catalog, sorted interactions, samples; and its folder in the store.

The folder has the tables of `LAYOUT`, and data.json with boundaries of the splits, tracked
categories, counts and fingerprint. A subset of a split has its own folder, with `rows.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories
from bench.data.catalog import Catalog
from bench.data.tables import FolderLayout, hash_content, read_table, write_table
from bench.data.windows import PADDING, Windows, find_covered_interactions
from bench.errors import BenchError, unknown

SPLITS = ("train", "valid", "test")
LAYOUT = FolderLayout(
    what="prepared data",
    format="prepared data 2",
    json_name="data.json",
    tables={
        # Sorted by user, time and line of the raw file.
        "interactions": ("users", "items", "ratings", "times"),
        # In order of the target's time; both columns are indices of interactions.
        "samples": ("start", "target"),
        "items": ("ids", "titles", "categories"),
        "users": ("user_ids",),
    },
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
        """Return samples of any split, by index and in any order, as arrays."""
        indices = np.asarray(samples, dtype=np.int64)
        start, target = self.start[indices], self.target[indices]
        offsets = start[:, None] + np.arange(self.history)
        in_history = offsets < target[:, None]
        items = self.items[np.where(in_history, offsets, 0)]
        histories = np.where(in_history, items, PADDING).astype(np.int32, copy=False)
        return Windows(users=self.users[target], histories=histories, targets=self.items[target])

    def candidates(self, inputs: Mapping[str, Path]) -> NDArray[np.bool_]:
        """Return which items a stage with these inputs may recommend, shape (items,).

        With an input "candidates", these are the targets of its rows.

        Raises:
            BenchError: No item can be recommended.
        """
        if "candidates" not in inputs:
            return np.ones(len(self.catalog), dtype=np.bool_)
        targets = self.windows(load_rows(inputs["candidates"])).targets
        is_candidate = np.isin(np.arange(len(self.catalog)), targets)
        if not is_candidate.any():
            raise BenchError(
                "No item can be recommended: there are no training rows.",
                'Use more training rows, or candidates = "catalog".',
            )
        return is_candidate

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


def select_tracked(
    item_categories: Sequence[tuple[str, ...]], items: NDArray[np.int32], choice: Categories
) -> tuple[str, ...]:
    """Select the tracked categories: the most frequent ones of items, shape (L,), in training.

    SPRec (Gao et al., WWW 2025, section 5.1.3) takes the ten most frequent and removes those that
    another one contains, without replacement. Equal counts are ordered by name.
    """
    counts: Counter[str] = Counter()
    for names, num in zip(
        item_categories, np.bincount(items, minlength=len(item_categories)), strict=True
    ):
        if num:
            counts.update(dict.fromkeys(names, int(num)))
    candidates = sorted(counts.keys() - set(choice.drop), key=lambda name: (-counts[name], name))
    return tuple(name for name in candidates[: choice.top] if name not in choice.remove)


def describe_unused_names(
    item_categories: Sequence[tuple[str, ...]], choice: Categories
) -> list[str]:
    """Return a sentence per category that the card excludes although no item has it."""
    existing = {name for names in item_categories for name in names}
    return [
        f"The card excludes the category {name!r}, which no item has."
        for name in sorted({*choice.drop, *choice.remove} - existing)
    ]


def complete(
    prepared: Prepared, choice: Categories | None, counts: Mapping[str, int], notes: Sequence[str]
) -> Prepared:
    """Add tracked categories (unless `choice` is None), counts with sizes, and notes."""
    catalog = prepared.catalog
    if choice is not None:
        items = prepared.items[prepared.train_interactions()]
        tracked = select_tracked(catalog.categories, items, choice)
        catalog = replace(catalog, tracked=tracked)
    counts = {**counts, **prepared.sizes()}
    return replace(prepared, catalog=catalog, counts=counts, notes=tuple(notes))


def write(prepared: Prepared, folder: Path) -> None:
    """Write prepared data into an existing folder."""
    content = {
        "boundaries": prepared.boundaries,
        "history": prepared.history,
        "tracked": prepared.catalog.tracked,
        "counts": dict(prepared.counts),
        "notes": prepared.notes,
    }
    values = {**vars(prepared.catalog), **vars(prepared)}
    LAYOUT.write(folder, prepared.fingerprint, values, content)


def read(folder: Path) -> Prepared:
    """Read prepared data back; see `FolderLayout.read` for errors."""
    prepared: Prepared = LAYOUT.read(folder, _build)
    return prepared


load = lru_cache(maxsize=2)(read)
"""Read prepared data once per process: every stage of a trial needs them."""


def _build(values: dict[str, Any], content: Mapping[str, Any]) -> Prepared:
    items = {name: values.pop(name) for name in LAYOUT.tables["items"]}
    train_end, valid_end = content["boundaries"]
    return Prepared(
        catalog=Catalog(**items, tracked=tuple(content["tracked"])),
        **values,
        boundaries=(train_end, valid_end),
        history=content["history"],
        counts=content["counts"],
        notes=tuple(content["notes"]),
    )


def write_rows(rows: NDArray[np.int64], folder: Path) -> None:
    """Write sampled rows, in their order."""
    write_table(folder, "rows", {"sample": rows})


@lru_cache(maxsize=8)
def load_rows(folder: Path) -> NDArray[np.int64]:
    """Read sampled rows once per process, as a read-only array in the order written, shape (N,)."""
    rows: NDArray[np.int64] = read_table(folder, "rows", ["sample"], "sampled rows")["sample"]
    rows.flags.writeable = False
    return rows
