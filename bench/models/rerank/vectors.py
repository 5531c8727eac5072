"""Text vectors on disk, and everything of a prepared data set that a re-ranker reads, as tensors.

Shapes: U users, J texts per user, I items, T width of a text vector, F attributes, N lists.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.prepared_lists import PARTS, PreparedLists
from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.lm.encode.grounding import read_vectors
from bench.models.rerank.model import ListTensors
from bench.plan.rerank_stages import ScoringText, TrainingText

Vectors: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TextVectors:
    """Vectors of texts about users and items.

    Attributes:
        users: Shape (U, J, T); None without texts about users.
        items: Shape (I, T); None without texts about items.

    Raises:
        BenchError: The two have different widths.
    """

    users: Vectors | None = None
    items: Vectors | None = None

    def __post_init__(self) -> None:
        widths = {vectors.shape[-1] for vectors in (self.users, self.items) if vectors is not None}
        if len(widths) > 1:
            raise BenchError(
                f"Vectors of users and items have different widths: {sorted(widths)}.",
                "Encode both with the same encoder.",
            )

    @property
    def width(self) -> int:
        """Width of the vectors, T; 0 without texts."""
        vectors = self.users if self.users is not None else self.items
        return 0 if vectors is None else vectors.shape[-1]

    def select_for_training(self, kind: TrainingText) -> Tensor | None:
        """Return the user texts to train on: all of them to sample from, or the first."""
        if self.users is None:
            return None
        return torch.from_numpy(self.users if kind == "sampled" else self.users[:, :1])

    def select_for_scoring(self, kind: ScoringText) -> Tensor | None:
        """Return the user text to score with: the first, or the mean of all vectors."""
        if self.users is None:
            return None
        vectors = self.users[:, :1] if kind == "first" else self.users.mean(axis=1, keepdims=True)
        return torch.from_numpy(np.ascontiguousarray(vectors))

    def item_table(self) -> Tensor | None:
        """Return the vectors of the items after a row of zeros for no item, shape (I + 1, T)."""
        if self.items is None:
            return None
        return torch.from_numpy(np.pad(self.items, ((1, 0), (0, 0))))


def read_text_vectors(
    lists: PreparedLists,
    metadata: MutableMapping[str, Plain],
    *,
    users: Path | None,
    items: Path | None,
    max_empty_fraction: float,
    parts: Sequence[str] = PARTS,
) -> TextVectors:
    """Read text vectors, and record in the metadata how many users and items have none.

    Vectors of users have shape (U, T) or (U, J, T), those of items (I, T). At most a fraction of
    the items, and of the users of some parts, may lack one; one missing text counts as none.

    Raises:
        BenchError: Vectors have the wrong shape, or too many are missing.
    """
    user_vectors = item_vectors = None
    if users is not None:
        user_vectors = _read(users, len(lists.user_ids), "users")
        if user_vectors.ndim == 2:
            user_vectors = user_vectors[:, None]
        owners = np.unique(lists.users[lists.rows(*parts)])
        _check_missing(user_vectors[owners], "users", metadata, max_empty_fraction)
    if items is not None:
        item_vectors = _read(items, len(lists.item_ids), "items")
        if item_vectors.ndim != 2:
            raise BenchError(
                f"Vectors of items have shape {item_vectors.shape}.", "Encode one text per item."
            )
        used = np.unique(lists.items)
        _check_missing(item_vectors[used], "items", metadata, max_empty_fraction)
    return TextVectors(users=user_vectors, items=item_vectors)


def _read(folder: Path, num: int, subject: str) -> Vectors:
    vectors = read_vectors(folder)
    if vectors.ndim not in (2, 3) or len(vectors) != num:
        raise BenchError(
            f"{folder} has vectors of shape {vectors.shape}, but there are {num} {subject}.",
            "Encode the texts of these lists.",
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _check_missing(
    vectors: Vectors,
    subject: str,
    metadata: MutableMapping[str, Plain],
    max_empty_fraction: float,
) -> None:
    is_empty = (vectors == 0).all(axis=-1)
    missing = int(is_empty.reshape(len(is_empty), -1).any(axis=1).sum())
    metadata[f"{subject}_without_a_vector"] = missing
    if missing > max_empty_fraction * len(vectors):
        raise BenchError(
            f"The generated text is empty for {missing} of {len(vectors)} {subject}, more than "
            f"{max_empty_fraction:.1%}.",
            "Raise the number of new tokens, or max_empty_fraction.",
        )


def shuffle_user_texts(vectors: Vectors, lists: PreparedLists, seed: int) -> Vectors:
    """Give every user the texts of another user of the same part, shape (U, J, T)."""
    generator = np.random.default_rng(seed)
    sources = np.arange(len(vectors))
    for part in np.unique(lists.parts):
        members = generator.permutation(np.flatnonzero(lists.parts == part))
        # One step around a shuffled circle: no user keeps their own text.
        sources[members] = np.roll(members, 1)
    return vectors[sources]


def attribute_table(lists: PreparedLists) -> Tensor:
    """Return the attributes of each item after a row of zeros for no item, shape (I + 1, F)."""
    return torch.from_numpy(np.pad(lists.attributes.astype(np.int64), ((1, 0), (0, 0))))


def list_tensors(
    lists: PreparedLists, rows: NDArray[np.int64], user_texts: Tensor | None = None
) -> ListTensors:
    """Return some lists as tensors, in which items are numbered from 1."""
    return ListTensors(
        items=torch.from_numpy(lists.items[rows].astype(np.int64) + 1),
        labels=torch.from_numpy(lists.labels[rows].astype(np.float32)),
        users=torch.from_numpy(lists.users[rows]),
        user_texts=user_texts,
    )
