"""Sequence form: all prefixes of the users' training sequences, left to right (Kang & McAuley).

Sequences are cut into pieces of the test histories' length at places that are drawn anew in each
epoch, so that every item is predicted from contexts of all lengths.

Tensor names end in their shape: N targets, B pieces, L length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.prepared import Prepared
from bench.data.windows import PADDING, find_covered_interactions


class Sequences(NamedTuple):
    """Sequences of items, one after the other.

    Attributes:
        items: Item indices, shape (M,).
        first: Index in `items` of the first item of each item's sequence, shape (M,).
    """

    items: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        """Number of items that have an item before them."""
        return int(np.count_nonzero(self.first < np.arange(len(self.items))))


class Pieces(NamedTuple):
    """Pieces of sequences: item ids before each target, and targets, shape (B, L), -1 padded."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


def join_rows(source: Prepared, rows: NDArray[np.int64]) -> Sequences:
    """Join overlapping training rows, samples by index, into sequences of a user's interactions.

    A gap between the rows of a user starts another sequence.
    """
    covered = find_covered_interactions(source.start[rows], source.target[rows], len(source.users))
    covered = covered[source.items[covered] >= 0]
    users = source.users[covered]
    begins = np.ones(len(covered), dtype=bool)
    begins[1:] = (np.diff(covered) > 1) | (users[1:] != users[:-1])
    first = np.maximum.accumulate(np.where(begins, np.arange(len(covered)), 0))
    return Sequences(items=source.items[covered].astype(np.int64), first=first)


def cut(sequences: Sequences, length: int, generator: np.random.Generator) -> Pieces:
    """Cut every sequence into pieces of `length` targets; the first and last may be shorter."""
    positions = np.arange(len(sequences.items))
    targets = positions[sequences.first < positions]
    first = sequences.first[targets]
    begins = np.ones(len(targets), dtype=bool)
    begins[1:] = first[1:] != first[:-1]
    owner = np.cumsum(begins) - 1
    shift = generator.integers(length, size=int(begins.sum()))[owner]
    slot = targets - first - 1 + shift
    begins[1:] |= slot[1:] // length != slot[:-1] // length
    piece = np.cumsum(begins) - 1
    column = np.arange(len(targets)) - np.flatnonzero(begins)[piece]
    pieces = Pieces(*np.full((2, int(begins.sum()), length), PADDING, dtype=np.int64))
    pieces.inputs[piece, column] = sequences.items[targets - 1]
    pieces.targets[piece, column] = sequences.items[targets]
    return pieces
