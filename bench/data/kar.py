"""KAR's preparation for re-ranking: users shuffled and split, short lists of real and drawn items.

Source: the preprocessing of KAR (Xi et al., RecSys 2024), which DPO4Rec follows. Each user's first
interactions are what a language model reads; from there on, blocks of up to 4 real items are filled
to lists of 10 and shuffled. Generators and calls are those of the original, so the same raw file
gives the same lists, drawn items included.

One difference: a user who loses all items within one pass of KAR's core filter stays there as a
user without items. Here the core holds no such user.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.filters import core
from bench.data.split import boundaries
from bench.errors import BenchError

LENGTH = 10
REAL = 4
USER_SEED = 1234
LIST_SEED = 12345
USER_RATIOS = (9, 0, 1)
DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What differs between KAR's data sets.

    Attributes:
        cap: Most interactions of a user that a language model reads (ML-1M 30, Amazon 15).
        positive_above: Label 1 for ratings above it (ML-1M 3, Amazon 4; A-12 in the data notes).
        min_user: Least interactions of a user (Amazon Books 60, else 0).
        min_item: Least interactions of an item (Amazon Books 40, else 0; A-13).
        by_day: Sort by day, UTC, and within it by line of the file, as KAR does for ML-1M (A-10).
    """

    cap: int
    positive_above: float
    min_user: int = 0
    min_item: int = 0
    by_day: bool = False


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """U users in shuffled order with L interactions, and who trains.

    Attributes:
        users: Source positions of the users, in shuffled order, shape (U,).
        items: Source positions of the items by first appearance in that order, shape (I,); an
            item's number is its place here.
        pool: Item numbers that lists are filled from, in order of source position, shape (P,).
        ends: Where each user's interactions begin and, one further, end, shape (U + 1,).
        sequence: Item numbers, user after user, each in order of time, shape (L,).
        ratings: Ratings beside it, shape (L,).
        starts: How many of a user's interactions a language model reads, shape (U,); counted
            before items without metadata went, as KAR does, so it may exceed what is left.
        train_users: Places in `users`, in order of the lists' making, shape (int(0.9 U),).
        test_users: The others, likewise.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    pool: NDArray[np.int32]
    ends: NDArray[np.int64]
    sequence: NDArray[np.int32]
    ratings: NDArray[np.float32]
    starts: NDArray[np.int64]
    train_users: NDArray[np.int64]
    test_users: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Lists:
    """R lists of 10 in order of making.

    Attributes:
        users: Places in `Sequences.users`, shape (R,).
        first: Place of the first real item in the user's sequence, shape (R,).
        items: Item numbers, shuffled, shape (R, 10); a drawn item may repeat a real one.
        labels: 1 for a real item rated above the threshold, shape (R, 10).
        real: True where the user did interact at this place, shape (R, 10).
        num_train: Lists of the training users; they come first.
    """

    users: NDArray[np.int64]
    first: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.int8]
    real: NDArray[np.bool_]
    num_train: int


def sequences(
    *,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: NDArray[np.float32],
    times: NDArray[np.int64],
    with_metadata: NDArray[np.bool_],
    rules: Rules,
) -> Sequences:
    """Filter, sort, number and split the users of a log.

    Args:
        users: User positions in file order, shape (L,).
        items: Item positions, shape (L,); positions follow the metadata file.
        ratings: Ratings, shape (L,); those of 0 and less are left out.
        times: Seconds since 1970, UTC, shape (L,).
        with_metadata: False for items that go after the core, shape (items,).
        rules: The data set's rules.

    Raises:
        BenchError: The log has interactions without a rating.
    """
    if np.isnan(ratings).any():
        raise BenchError(
            "Re-ranking lists need a rating for every interaction, and some have none.",
            "Name the rating column in [fields], or take a data set with ratings.",
        )
    keep = core(users, items, ratings > 0, min_user=rules.min_user, min_item=rules.min_item)
    ordered, places = _shuffled(list(dict.fromkeys(users[keep].tolist())))
    num_train, _ = boundaries(len(places), USER_RATIOS)
    place_of = np.zeros(int(users.max(initial=-1)) + 1, dtype=np.int64)
    place_of[ordered] = np.arange(len(ordered))

    clock = times // DAY if rules.by_day else times
    # Stable: of equal times the earlier line of the file comes first.
    rows = np.flatnonzero(keep)[np.lexsort((clock[keep], place_of[users[keep]]))]
    lengths = np.bincount(place_of[users[rows]], minlength=len(ordered))
    rows = rows[with_metadata[items[rows]]]
    left = np.bincount(place_of[users[rows]], minlength=len(ordered))
    appeared = list(dict.fromkeys(items[rows].tolist()))
    number_of = np.zeros(len(with_metadata), dtype=np.int32)
    number_of[appeared] = np.arange(len(appeared))
    return Sequences(
        users=np.array(ordered, dtype=np.int32),
        items=np.array(appeared, dtype=np.int32),
        pool=number_of[sorted(appeared)],
        ends=np.concatenate(([0], np.cumsum(left))).astype(np.int64),
        sequence=number_of[items[rows]],
        ratings=ratings[rows],
        starts=np.minimum((lengths + 1) // 2, rules.cap).astype(np.int64),
        train_users=np.array(places[:num_train], dtype=np.int64),
        test_users=np.array(places[num_train:], dtype=np.int64),
    )


def _shuffled(users: list[int]) -> tuple[list[int], list[int]]:
    """Return the users in the order of their numbers, and these numbers in that of the split."""
    # No secret hangs on it: these must be the numbers of the original's generator, one stream.
    generator = random.Random(USER_SEED)  # noqa: S311
    generator.shuffle(users)
    places = list(range(len(users)))
    generator.shuffle(places)
    return users, places


def lists(data: Sequences, rules: Rules) -> Lists:
    """Make the lists, those of the training users first.

    Drawn items come from the whole pool, so the user's own items, and those of the block itself,
    may be among them: KAR excludes nothing.

    Raises:
        BenchError: The pool is too small to fill a list.
    """
    if len(data.pool) < LENGTH:
        raise BenchError(
            f"{len(data.pool)} items cannot fill lists of {LENGTH}.",
            "Relax the minima of users and items, or take a larger data set.",
        )
    generator = random.Random(LIST_SEED)  # noqa: S311
    pool = data.pool.tolist()
    users, first, made = [], [], []
    for user, place, chosen in _blocks(data, rules.positive_above):
        drawn = generator.sample(pool, LENGTH - len(chosen))
        entries = [*chosen, *((item, 0, False) for item in drawn)]
        generator.shuffle(entries)
        users.append(user)
        first.append(place)
        made.append(entries)
    table = np.array(made, dtype=np.int64).reshape(-1, LENGTH, 3)
    return Lists(
        users=np.array(users, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        items=table[:, :, 0].astype(np.int32),
        labels=table[:, :, 1].astype(np.int8),
        real=table[:, :, 2].astype(bool),
        num_train=int(np.isin(users, data.train_users).sum()),
    )


def _blocks(
    data: Sequences, positive_above: float
) -> Iterator[tuple[int, int, list[tuple[int, int, bool]]]]:
    """Yield user, place of the first item, and up to 4 real items with labels."""
    for user in (*data.train_users.tolist(), *data.test_users.tolist()):
        begin, end = data.ends[user], data.ends[user + 1]
        items = data.sequence[begin:end].tolist()
        labels = (data.ratings[begin:end] > positive_above).tolist()
        for place in range(int(data.starts[user]), len(items), REAL):
            block = slice(place, place + REAL)
            yield (
                user,
                place,
                [(i, int(b), True) for i, b in zip(items[block], labels[block], strict=True)],
            )
