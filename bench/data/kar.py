"""KAR's preparation for re-ranking: shuffled users, short lists of real and sampled items.

Source: the preprocessing of KAR (Xi et al., RecSys 2024), which DPO4Rec follows. A language model
reads each user's first interactions; the following ones form blocks of up to 4 real items, which
are filled up to lists of 10 and shuffled. Generators and calls are those of the original, so the
same raw file gives the same lists, sampled items included.

One difference: KAR keeps users who lose all items within one pass of its core filter as users
without items. Here the core has no such user.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.filters import find_core
from bench.data.raw import RawData
from bench.data.split import split_boundaries
from bench.errors import BenchError

LIST_LENGTH = 10
MAX_REAL_ITEMS = 4
USER_SEED = 1234
LIST_SEED = 12345
USER_RATIOS = (9, 0, 1)
SECONDS_PER_DAY = 86_400
TOO_SMALL = "Relax the minima of users and items, or use a larger data set."


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What differs between KAR's data sets; see `bench.config.cards.ListCard`."""

    cap: int
    positive_above: float
    min_user: int = 0
    min_item: int = 0
    by_day: bool = False


@dataclass(frozen=True, kw_only=True)
class UserSequences:
    """U users in shuffled order with S interactions; see `PreparedLists` for the others.

    Attributes:
        users: Source indices of the users, in shuffled order, shape (U,).
        items: Source indices of the items by first appearance in that order, shape (I,); an item's
            number is its index here.
        pool: Item numbers that lists are filled from, in order of source index, shape (I,).
        train_users: Indices into `users`, in the order in which lists are built, (int(0.9 U),).
        test_users: The others, likewise.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    pool: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    sequence: NDArray[np.int32]
    ratings: NDArray[np.float32]
    train_users: NDArray[np.int64]
    test_users: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateLists:
    """R lists of L items in the order in which they are built; a sampled one may repeat a real one.

    Attributes:
        users: User of each list, an index into `UserSequences.users`, shape (R,).
        first: Index of a list's first real item in the user's sequence, shape (R,).
        items: Items of each list, shape (R, L).
        labels: 1 for a real item rated above the threshold, shape (R, L).
        real: Whether the item is from the user's interactions and not sampled, shape (R, L).
    """

    users: NDArray[np.int64]
    first: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.int8]
    real: NDArray[np.bool_]


def build_sequences(raw: RawData, rules: Rules) -> UserSequences:
    """Filter, sort, number and split the users of a data set; ratings of 0 and less are left out.

    Raises:
        BenchError: There are interactions without a rating.
    """
    users, items, ratings = raw.users, raw.items, raw.ratings
    if np.isnan(ratings).any():
        raise BenchError(
            "Re-ranking lists need a rating for every interaction, and some have none.",
            "Name the rating column in [fields], or use a data set with ratings.",
        )
    keep = find_core(users, items, ratings > 0, min_user=rules.min_user, min_item=rules.min_item)
    # Not for security: the original's generator, one stream for both orders.
    generator = random.Random(USER_SEED)  # noqa: S311
    ordered = list(dict.fromkeys(users[keep].tolist()))
    generator.shuffle(ordered)
    split_order = list(range(len(ordered)))
    generator.shuffle(split_order)
    num_train, _ = split_boundaries(len(ordered), USER_RATIOS)
    index_of = np.zeros(int(users.max(initial=-1)) + 1, dtype=np.int64)
    index_of[ordered] = np.arange(len(ordered))

    clock = raw.times // SECONDS_PER_DAY if rules.by_day else raw.times
    # Stable: of equal times the earlier line of the file comes first.
    rows = np.flatnonzero(keep)[np.lexsort((clock[keep], index_of[users[keep]]))]
    lengths = np.bincount(index_of[users[rows]], minlength=len(ordered))
    appeared = list(dict.fromkeys(items[rows].tolist()))
    number_of = np.zeros(int(items.max(initial=-1)) + 1, dtype=np.int32)
    number_of[appeared] = np.arange(len(appeared))
    return UserSequences(
        users=np.array(ordered, dtype=np.int32),
        items=np.array(appeared, dtype=np.int32),
        pool=number_of[sorted(appeared)],
        starts=np.minimum((lengths + 1) // 2, rules.cap).astype(np.int64),
        ends=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        sequence=number_of[items[rows]],
        ratings=ratings[rows],
        train_users=np.array(split_order[:num_train], dtype=np.int64),
        test_users=np.array(split_order[num_train:], dtype=np.int64),
    )


def build_lists(data: UserSequences, rules: Rules) -> CandidateLists:
    """Build the lists, those of the training users first.

    Items are sampled from the whole pool, so the user's own items, and those of the block itself,
    may be among them: KAR excludes nothing.

    Raises:
        BenchError: The pool is too small to fill a list.
    """
    if len(data.pool) < LIST_LENGTH:
        raise BenchError(f"{len(data.pool)} items cannot fill lists of {LIST_LENGTH}.", TOO_SMALL)
    generator = random.Random(LIST_SEED)  # noqa: S311
    pool = data.pool.tolist()
    users, first, lists = [], [], []
    for user, index, block in _iterate_blocks(data, rules.positive_above):
        sampled = generator.sample(pool, LIST_LENGTH - len(block))
        entries = [*block, *((item, 0, False) for item in sampled)]
        generator.shuffle(entries)
        users.append(user)
        first.append(index)
        lists.append(entries)
    table = np.array(lists, dtype=np.int64).reshape(-1, LIST_LENGTH, 3)
    return CandidateLists(
        users=np.array(users, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        items=table[:, :, 0].astype(np.int32),
        labels=table[:, :, 1].astype(np.int8),
        real=table[:, :, 2].astype(bool),
    )


def _iterate_blocks(
    data: UserSequences, positive_above: float
) -> Iterator[tuple[int, int, list[tuple[int, int, bool]]]]:
    """Yield user, index of the first item, and up to 4 real items as (item, label, True)."""
    for user in (*data.train_users.tolist(), *data.test_users.tolist()):
        span = slice(data.ends[user], data.ends[user + 1])
        labels = (data.ratings[span] > positive_above).astype(int).tolist()
        real = [
            (i, label, True) for i, label in zip(data.sequence[span].tolist(), labels, strict=True)
        ]
        for index in range(int(data.starts[user]), len(real), MAX_REAL_ITEMS):
            yield user, index, real[index : index + MAX_REAL_ITEMS]
