"""From lists and vectors in files to what a re-ranker is trained with.

Shapes: U users, J texts of a user, I items, T width of a text's vector, F attributes, N lists.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.prepared_lists import PARTS, Lists
from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.rerank.scoring import Rows

FILE = "vectors.npy"
SILENT_SHARE = 0.005

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Vectors of texts.

    Attributes:
        users: Shape (U, J, T); None where users have no texts.
        items: Shape (I, T); None where items have none.

    Raises:
        BenchError: The two are of different width.
    """

    users: Vectors | None = None
    items: Vectors | None = None

    def __post_init__(self) -> None:
        if (
            self.users is not None
            and self.items is not None
            and self.users.shape[-1] != self.items.shape[-1]
        ):
            raise BenchError(
                f"Users' vectors are {self.users.shape[-1]} wide, items' {self.items.shape[-1]}.",
                "Encode both with the same encoder.",
            )

    @property
    def width(self) -> int:
        """Width of the vectors, T; 0 where there are none."""
        known = self.users if self.users is not None else self.items
        return 0 if known is None else known.shape[-1]

    def fitting(self, kind: str) -> Tensor | None:
        """Return what training sees: all texts of a user ("drawn" among them), or the "first"."""
        if self.users is None:
            return None
        return torch.from_numpy(self.users if kind == "drawn" else self.users[:, :1])

    def scoring(self, kind: str) -> Tensor | None:
        """Return what scoring sees: the "first" text, or the "mean" of all vectors."""
        if self.users is None:
            return None
        chosen = self.users[:, :1] if kind == "first" else self.users.mean(axis=1, keepdims=True)
        return torch.from_numpy(np.ascontiguousarray(chosen))

    def item_table(self) -> Tensor | None:
        """Return the items' vectors behind a row of 0 for no item, shape (I + 1, T)."""
        if self.items is None:
            return None
        return torch.from_numpy(np.pad(self.items, ((1, 0), (0, 0))))


def user_vectors(
    folder: Path,
    lists: Lists,
    facts: MutableMapping[str, Plain],
    silent_share: float = SILENT_SHARE,
    parts: Sequence[str] = PARTS,
) -> Vectors:
    """Read vectors of the users' texts, shape (U, J, T), and note how many users have none.

    Args:
        folder: The artifact.
        lists: Whose users they are.
        facts: Where the number is noted.
        silent_share: So many of them may be without, from 0 to 1.
        parts: Users that must have texts; a user counts as without already for one missing text.

    Raises:
        BenchError: They are of other users, or too many are missing.
    """
    vectors = _read(folder, len(lists.user_ids), "users")
    vectors = vectors[:, None] if vectors.ndim == 2 else vectors
    own = vectors[np.unique(lists.users[lists.rows(*parts)])]
    _note_missing(own, "users", facts, silent_share)
    return vectors


def item_vectors(
    folder: Path,
    lists: Lists,
    facts: MutableMapping[str, Plain],
    silent_share: float = SILENT_SHARE,
) -> Vectors:
    """Read vectors of the items' texts, shape (I, T), and note how many items have none.

    Args:
        folder: The artifact.
        lists: Whose items they are.
        facts: Where the number is noted.
        silent_share: So many items may be without, from 0 to 1.

    Raises:
        BenchError: They are of other items, or too many are missing.
    """
    vectors = _read(folder, len(lists.item_ids), "items")
    if vectors.ndim != 2:
        raise BenchError(f"Items' vectors have shape {vectors.shape}.", "Give one to each item.")
    _note_missing(vectors[np.unique(lists.items)], "items", facts, silent_share)
    return vectors


def _read(folder: Path, num: int, whose: str) -> Vectors:
    try:
        vectors = np.load(folder / FILE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{folder} holds no vectors: {error}.", "Encode the texts again."
        ) from error
    if vectors.ndim not in (2, 3) or len(vectors) != num:
        raise BenchError(
            f"{folder} holds vectors of shape {vectors.shape} where {num} {whose} were asked.",
            "Encode the texts of these lists.",
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _note_missing(
    vectors: Vectors, whose: str, facts: MutableMapping[str, Plain], silent_share: float
) -> None:
    empty = (vectors == 0).all(axis=-1)
    missing = int(empty.reshape(len(empty), -1).any(axis=1).sum())
    facts[f"{whose}_without_a_vector"] = missing
    if missing > silent_share * len(vectors):
        raise BenchError(
            f"{missing} of {len(vectors)} {whose} have no text that says anything.",
            f"Let the language model write more tokens; {silent_share:.1%} may be without "
            "(--set silent_share=…).",
        )


def shuffled(vectors: Vectors | None, lists: Lists, seed: int) -> Vectors:
    """Give every user the texts of another user of the same part, shape (U, J, T)."""
    assert vectors is not None
    numbers = np.random.default_rng(seed)
    given = np.arange(len(vectors))
    for part in np.unique(lists.parts):
        members = numbers.permutation(np.flatnonzero(lists.parts == part))
        # One step around a shuffled circle: nobody keeps their own.
        given[members] = np.roll(members, 1)
    return vectors[given]


def attribute_numbers(lists: Lists) -> Tensor:
    """Return the attributes of each item behind a row of 0 for no item, shape (I + 1, F)."""
    return torch.from_numpy(np.pad(lists.attributes.astype(np.int64), ((1, 0), (0, 0))))


def rows_of(lists: Lists, rows: NDArray[np.int64], user_texts: Tensor | None) -> Rows:
    """Return some lists as tensors; items are numbered from 1 there."""
    return Rows(
        items=torch.from_numpy(lists.items[rows].astype(np.int64) + 1),
        labels=torch.from_numpy(lists.labels[rows].astype(np.float32)),
        users=torch.from_numpy(lists.users[rows]),
        user_texts=user_texts,
    )
