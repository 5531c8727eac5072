"""Prepared data for re-ranking: users with what they rated, lists of 10 with labels; in a folder.

    interactions.parquet  a line an interaction: user, item, rating, in each user's order of time
    users.parquet         a line a user: id, part, interactions that come before the lists, profile
    items.parquet         a line an item: id, title, brand, attributes
    lists.parquet         a line a list: user, place of its first real item, items, labels, real
    lists.json            rules, names of attributes, counts, fingerprint

Scores of lists lie in a folder of their own, as `scores.parquet`.

Users and lists are KAR's (`bench.data.kar`). It has no validation users; a seeded share of its
training users is set apart for that, and whoever wants KAR as published joins them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data import kar
from bench.errors import BenchError, unknown
from bench.hashing import canonical_json

FORMAT = "re-ranking lists 2"
PARTS = ("train", "valid", "test")
PROFILE = ("gender", "age", "occupation")
SCORES = "scores.parquet"
PREPARE_AGAIN = "Remove that folder from the store and run again."


@dataclass(frozen=True, kw_only=True, eq=False)
class Lists:
    """R lists of L places over U users and I items.

    Attributes:
        user_ids: Source ids of the users, in KAR's order.
        item_ids: Source ids of the items, by first appearance in that order.
        titles: Their titles.
        attributes: Attribute numbers of each item, from 1; 0 for none, shape (I, F).
        attribute_names: Names of the attributes; number 1 is the first one.
        parts: Part of each user, a place in `PARTS`, shape (U,).
        starts: Interactions before a user's lists, at most; a language model may read them, (U,).
        ends: Where each user's interactions begin and, one further, end, shape (U + 1,).
        sequence: Items of the interactions, user after user in order of time, shape (S,).
        ratings: Ratings beside them, shape (S,).
        users: User of each list, shape (R,).
        first: Place of a list's first real item in the user's sequence, shape (R,).
        items: Items of each list, shape (R, L).
        labels: 1 for a real item rated above the threshold, shape (R, L).
        real: Whether the user did interact with it at this place, shape (R, L).
        rules: What the lists were made by.
        counts: Sizes by name.
        brands: Brand of each item, empty where it is not known; none at all where none is.
        profiles: Gender, age and occupation of each user by MovieLens' codes, or none at all.
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
    users: NDArray[np.int64]
    first: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.int8]
    real: NDArray[np.bool_]
    rules: kar.Rules
    counts: Mapping[str, int] = field(default_factory=dict)
    brands: tuple[str, ...] = ()
    profiles: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        assert len(self.brands) in (0, len(self.item_ids)), "a brand an item"
        assert len(self.profiles) in (0, len(self.user_ids)), "a profile a user"

    def rows(self, *parts: str) -> NDArray[np.int64]:
        """Return the numbers of the lists whose users are in one of the parts, ascending."""
        for part in parts:
            if part not in PARTS:
                raise unknown("part", part, PARTS)
        wanted = [PARTS.index(part) for part in parts]
        return np.flatnonzero(np.isin(self.parts[self.users], wanted))

    def history(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return items and ratings that come before a user's lists, oldest first."""
        begin = int(self.ends[user])
        end = min(begin + int(self.starts[user]), int(self.ends[user + 1]))
        return self.sequence[begin:end], self.ratings[begin:end]

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """How often each item occurs with users that are not for testing, shape (I,)."""
        owners = np.repeat(np.arange(len(self.user_ids)), np.diff(self.ends))
        seen = self.parts[owners] != PARTS.index("test")
        return np.bincount(self.sequence[seen], minlength=len(self.item_ids))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all that decides a result."""
        hasher = hashlib.sha256()
        for texts in (
            *(self.user_ids, self.item_ids, self.titles, self.attribute_names),
            *(self.brands, self.profiles),
        ):
            hasher.update(canonical_json(texts).encode() + b"\n")
        for integers in (
            *(self.attributes, self.parts, self.starts, self.ends, self.sequence),
            *(self.users, self.first, self.items, self.labels, self.real),
        ):
            hasher.update(f"{integers.shape}".encode())
            hasher.update(np.ascontiguousarray(integers, dtype="<i8").data)
        hasher.update(np.ascontiguousarray(self.ratings, dtype="<f4").data)
        return hasher.hexdigest()


def write(lists: Lists, folder: Path) -> None:
    """Write lists into an existing folder."""
    owners = np.repeat(np.arange(len(lists.user_ids)), np.diff(lists.ends))
    tables: dict[str, dict[str, Any]] = {
        "interactions": {"user": owners, "item": lists.sequence, "rating": lists.ratings},
        "users": {
            "id": pa.array(lists.user_ids, pa.string()),
            "part": lists.parts,
            "start": lists.starts,
            **dict(zip(PROFILE, zip(*lists.profiles, strict=True), strict=False)),
        },
        "items": {
            "id": pa.array(lists.item_ids, pa.string()),
            "title": pa.array(lists.titles, pa.string()),
            "attributes": list(lists.attributes),
            **({"brand": lists.brands} if lists.brands else {}),
        },
        "lists": {
            "user": lists.users,
            "first": lists.first,
            **{name: list(getattr(lists, name)) for name in ("items", "labels", "real")},
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    content = {
        "format": FORMAT,
        "fingerprint": lists.fingerprint,
        "rules": asdict(lists.rules),
        "attribute_names": list(lists.attribute_names),
        "counts": dict(lists.counts),
    }
    (folder / "lists.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


@lru_cache(maxsize=2)
def shared(folder: Path) -> Lists:
    """Read an artifact, which never changes, once a process."""
    return read(folder)


def read(folder: Path) -> Lists:
    """Read lists back.

    Raises:
        BenchError: The folder holds something else, or no longer what was written.
    """
    try:
        content = json.loads((folder / "lists.json").read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise BenchError(f"{folder} holds no {FORMAT}.", PREPARE_AGAIN)
        lists = _assemble(folder, content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{folder} holds no re-ranking lists: {error}.", PREPARE_AGAIN) from error
    if lists.fingerprint != content["fingerprint"]:
        raise BenchError(f"The re-ranking lists in {folder} were changed.", PREPARE_AGAIN)
    return lists


def _assemble(folder: Path, content: Mapping[str, Any]) -> Lists:
    tables = {
        name: pq.read_table(folder / f"{name}.parquet")
        for name in ("interactions", "users", "items", "lists")
    }

    def column(table: str, name: str, dtype: type) -> NDArray[Any]:
        found = tables[table][name]
        if pa.types.is_list(found.type):
            flat = found.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            values: NDArray[Any] = flat.astype(dtype).reshape(len(found), -1)
            return values
        values = found.to_numpy().astype(dtype)
        return values

    def known(table: str, *names: str) -> list[list[Any]]:
        there = set(names) <= set(tables[table].column_names)
        return [tables[table][name].to_pylist() for name in names] if there else []

    user_ids = tuple(tables["users"]["id"].to_pylist())
    lengths = np.bincount(column("interactions", "user", np.int64), minlength=len(user_ids))
    return Lists(
        user_ids=user_ids,
        item_ids=tuple(tables["items"]["id"].to_pylist()),
        titles=tuple(tables["items"]["title"].to_pylist()),
        attributes=column("items", "attributes", np.int32),
        attribute_names=tuple(content["attribute_names"]),
        parts=column("users", "part", np.int8),
        starts=column("users", "start", np.int64),
        ends=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        sequence=column("interactions", "item", np.int32),
        ratings=column("interactions", "rating", np.float32),
        users=column("lists", "user", np.int64),
        first=column("lists", "first", np.int64),
        items=column("lists", "items", np.int32),
        labels=column("lists", "labels", np.int8),
        real=column("lists", "real", np.bool_),
        rules=kar.Rules(**content["rules"]),
        counts=content["counts"],
        brands=tuple(brand for column in known("items", "brand") for brand in column),
        profiles=tuple(zip(*known("users", *PROFILE), strict=True)),
    )


def write_scores(rows: NDArray[np.int64], scores: NDArray[np.float64], folder: Path) -> None:
    """Write the scores of some lists, shape (N, L), beside their numbers."""
    pq.write_table(pa.table({"list": rows, "scores": list(scores)}), folder / SCORES)


def read_scores(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read what `write_scores` wrote: numbers of lists, shape (N,), and scores, shape (N, L).

    Raises:
        BenchError: The folder holds no scores.
    """
    try:
        table = pq.read_table(folder / SCORES)
        rows = table["list"].to_numpy().astype(np.int64)
        scores = np.array(table["scores"].to_pylist(), dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder} holds no scores of lists: {error}.", PREPARE_AGAIN) from error
    return rows, scores
