"""Prepared data for re-ranking: users with their ratings, and candidate lists of 10 with labels.

The folder has the tables of `LAYOUT`, and lists.json with rules, names of attributes, profiles,
counts and fingerprint. Scores of lists have a folder of their own, with `scores.parquet`.

Users and lists are KAR's (`bench.data.kar`). KAR has no validation users; a seeded share of its
training users becomes the validation part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import kar
from bench.data.tables import FolderLayout, hash_content, read_table, write_table
from bench.errors import unknown

PARTS = ("train", "valid", "test")
SCORES = "scores.parquet"
LAYOUT = FolderLayout(
    what="re-ranking lists",
    format="re-ranking lists 3",
    json_name="lists.json",
    tables={
        # User after user, each in order of time.
        "interactions": ("sequence", "ratings"),
        "users": ("user_ids", "parts", "starts", "lengths"),
        "items": ("item_ids", "titles", "brands", "attributes"),
        "lists": ("users", "first", "items", "labels", "real"),
    },
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedLists(kar.CandidateLists):
    """R lists of L items over U users and I items.

    Attributes:
        user_ids: Source ids of the users, in KAR's order.
        item_ids: Source ids of the items, by first appearance in that order.
        attributes: Attribute numbers of each item, from 1; 0 for none, shape (I, F).
        attribute_names: Names of the attributes; number 1 is the first one.
        parts: Part of each user, an index into `PARTS`, shape (U,).
        starts: Maximum number of interactions before a user's lists, which a language model may
            read, shape (U,).
        ends: User u's interactions are `ends[u]` to `ends[u + 1]`, shape (U + 1,).
        sequence: Items of the interactions, user after user in order of time, shape (S,).
        ratings: Their ratings, shape (S,).
        profiles: Gender, age and occupation of each user by MovieLens' codes, or ().
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    attributes: NDArray[np.int32]
    attribute_names: tuple[str, ...]
    parts: NDArray[np.int8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    sequence: NDArray[np.int32]
    ratings: NDArray[np.float32]
    rules: kar.Rules
    counts: Mapping[str, int] = field(default_factory=dict)
    brands: tuple[str, ...] = ()
    profiles: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        assert len(self.brands) in (0, len(self.item_ids)), "one brand per item"
        assert len(self.profiles) in (0, len(self.user_ids)), "one profile per user"

    def rows(self, *parts: str) -> NDArray[np.int64]:
        """Return the indices of the lists whose users are in one of the parts, ascending."""
        for part in parts:
            if part not in PARTS:
                raise unknown("part", part, PARTS)
        numbers = [PARTS.index(part) for part in parts]
        return np.flatnonzero(np.isin(self.parts[self.users], numbers))

    def read_scores(self, folder: Path, part: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Read what `write_scores` wrote of one part: list indices, and scores, shape (N, L)."""
        columns = read_table(folder, "scores", ["list", "scores"], "scores of lists")
        is_in_part = np.isin(columns["list"], self.rows(part))
        return columns["list"][is_in_part], columns["scores"][is_in_part]

    def history(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return items and ratings before a user's lists, oldest first."""
        begin = int(self.ends[user])
        end = min(begin + int(self.starts[user]), int(self.ends[user + 1]))
        return self.sequence[begin:end], self.ratings[begin:end]

    @property
    def owners(self) -> NDArray[np.int64]:
        """User of each interaction, shape (S,)."""
        return np.repeat(np.arange(len(self.user_ids)), np.diff(self.ends))

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Number of interactions of each item outside the test part, shape (I,)."""
        seen = self.parts[self.owners] != PARTS.index("test")
        return np.bincount(self.sequence[seen], minlength=len(self.item_ids))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of everything that decides a result."""
        arrays = (
            *(self.attributes, self.parts, self.starts, self.ends, self.sequence),
            *(self.users, self.first, self.items, self.labels, self.real),
        )
        return hash_content(
            (
                *(self.user_ids, self.item_ids, self.titles, self.attribute_names),
                *(self.brands, self.profiles),
                *(part for array in arrays for part in (f"{array.shape}".encode(), array)),
                self.ratings,
            )
        )


def write(lists: PreparedLists, folder: Path) -> None:
    """Write lists into an existing folder."""
    content = {
        "rules": asdict(lists.rules),
        "attribute_names": lists.attribute_names,
        "profiles": lists.profiles,
        "counts": dict(lists.counts),
    }
    values = {**vars(lists), "lengths": np.diff(lists.ends)}
    LAYOUT.write(folder, lists.fingerprint, values, content)


def read(folder: Path) -> PreparedLists:
    """Read lists back; see `FolderLayout.read` for errors."""
    lists: PreparedLists = LAYOUT.read(folder, _build)
    return lists


load = lru_cache(maxsize=2)(read)
"""Read lists once per process."""


def _build(values: dict[str, Any], content: Mapping[str, Any]) -> PreparedLists:
    return PreparedLists(
        ends=np.concatenate(([0], np.cumsum(values.pop("lengths")))).astype(np.int64),
        **values,
        rules=kar.Rules(**content["rules"]),
        attribute_names=tuple(content["attribute_names"]),
        profiles=tuple(map(tuple, content["profiles"])),
        counts=content["counts"],
    )


def write_scores(rows: NDArray[np.int64], scores: NDArray[np.float64], folder: Path) -> None:
    """Write the scores, shape (N, L), of the lists with these indices, shape (N,)."""
    write_table(folder, "scores", {"list": rows, "scores": scores})
