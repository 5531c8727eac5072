"""Training windows, histories and items as sparse matrices, for item-ID methods without training.

C histories of at most H items, I items of the catalog.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.windows import PADDING, Windows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def session_matrix(
    train: Windows, num_items: int, session: Literal["user", "window"] = "user"
) -> csr_matrix:
    """Return which session contains which of I items, as 0 or 1, shape (sessions, I).

    Histories and targets count alike. A session of a "user" joins all their windows; a "window" by
    itself has items that are closer in time.
    """
    owners = train.users if session == "user" else np.arange(len(train))
    rows = np.unique(owners, return_inverse=True)[1]
    items = np.concatenate([train.histories, train.targets[:, None]], axis=1)
    matrix = _add_entries(np.ones(items.shape), rows, items, (int(rows.max()) + 1, num_items))
    matrix.data[:] = 1
    return matrix


def recency_weights(histories: NDArray[np.integer], num_items: int, decay: float) -> csr_matrix:
    """Return the items of histories weighted by decay ** age, shape (C, I); the last has age 0.

    Histories are padded on the right with -1; decay is in [0, 1].
    """
    lengths = (histories >= 0).sum(axis=1, keepdims=True)
    ages = np.maximum(lengths - 1 - np.arange(histories.shape[1]), 0)
    shape = (len(histories), num_items)
    return _add_entries(float(decay) ** ages, np.arange(len(histories)), histories, shape)


def count_transitions(train: Windows, num_items: int) -> csr_matrix:
    """Count the users with whom one item directly follows another, shape (I before, I after).

    Overlapping windows repeat a transition, so each counts once per user.
    """
    lengths = (train.histories >= 0).sum(axis=1)
    sequences = np.pad(train.histories, ((0, 0), (0, 1)), constant_values=PADDING)
    sequences[np.arange(len(train)), lengths] = train.targets
    pairs = np.lib.stride_tricks.sliding_window_view(sequences, 2, axis=1).reshape(-1, 2)
    users = np.repeat(train.users, sequences.shape[1] - 1)
    is_pair = (pairs >= 0).all(axis=1)
    triples = np.unique(np.column_stack([users, pairs])[is_pair], axis=0)
    shape = (num_items, num_items)
    return _add_entries(np.ones((len(triples), 1)), triples[:, 1], triples[:, 2:], shape)


def last_items(histories: NDArray[np.integer], age: int = 0) -> NDArray[np.integer]:
    """Return the item at this age of each history, shape (C,); age 0 is the last, -1 means none."""
    index = (histories >= 0).sum(axis=1) - 1 - age
    items = histories[np.arange(len(histories)), np.maximum(index, 0)]
    return np.where(index >= 0, items, PADDING)


def feature_vectors(catalog: Catalog) -> csr_matrix:
    """Return TF-IDF vectors of title words and categories, length 1 or 0, shape (I, features)."""
    features = [
        [*dict.fromkeys(title.casefold().split()), *(f"[{name}]" for name in dict.fromkeys(names))]
        for title, names in zip(catalog.titles, catalog.categories, strict=True)
    ]
    counts = Counter(name for names in features for name in names)
    column = {name: index for index, name in enumerate(counts)}
    weights = np.log(len(catalog) / np.array([*counts.values()]))
    rows = np.repeat(np.arange(len(catalog)), [len(names) for names in features])
    columns = np.array([column[name] for names in features for name in names], dtype=np.intp)
    values = weights[columns]
    norms = np.sqrt(np.bincount(rows, values**2, minlength=len(catalog)))[rows]
    values = np.divide(values, norms, out=np.zeros_like(values), where=norms > 0)
    return _add_entries(values[:, None], rows, columns[:, None], (len(catalog), len(counts)))


def _add_entries(
    values: NDArray[np.float64],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    shape: tuple[int, int],
) -> csr_matrix:
    """Add up values, shape (R, H), at their row, shape (R,), and column; column -1 is skipped."""
    from scipy.sparse import csr_matrix  # imported here: planning does not wait for scipy

    is_item = columns >= 0
    positions = (np.broadcast_to(rows[:, None], columns.shape)[is_item], columns[is_item])
    return csr_matrix((values[is_item], positions), shape=shape)
