"""From raw interactions to re-ranking data: KAR's users and lists, attributes, validation users.

Titles and brands stay as the reader returns them; prompts decide how to write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from bench.data import kar
from bench.data.negatives import choose_random_rows
from bench.data.prepared_lists import PARTS, PreparedLists
from bench.data.raw import RawData
from bench.errors import BenchError
from bench.hashing import derive_seed

UNKNOWN_ATTRIBUTE = "unknown"


def make_lists(
    raw: RawData,
    rules: kar.Rules,
    *,
    fields: Sequence[Sequence[str]],
    valid_share: float,
    seed: int,
) -> PreparedLists:
    """Build the users and lists of a data set by KAR's rules.

    `fields` are the values of each attribute for every raw item, empty for none. A fraction
    `valid_share` of the training users, 0 <= x < 1 and selected by the seed, becomes the validation
    part.

    Raises:
        BenchError: Ratings or profiles are missing, there are too few items, or a part has no list.
    """
    if not 0 <= valid_share < 1:
        message = f"The fraction of training users for validation is {valid_share}."
        raise BenchError(message, "Use a number from 0 to below 1.")
    data = kar.build_sequences(raw, rules)
    lists = kar.build_lists(data, rules)
    # Attributes are numbered in the order of the item file, items by first appearance.
    file_order = np.sort(data.items)
    table, names = number_attributes([[column[item] for item in file_order] for column in fields])
    user_ids = tuple(raw.user_ids[user] for user in data.users)
    parts = _assign_parts(data, valid_share, seed)
    prepared = PreparedLists(
        user_ids=user_ids,
        item_ids=tuple(raw.item_ids[item] for item in data.items),
        titles=tuple(raw.titles[item] for item in data.items),
        attributes=table[np.searchsorted(file_order, data.items)],
        attribute_names=names,
        parts=parts,
        **{name: getattr(data, name) for name in ("starts", "ends", "sequence", "ratings")},
        **vars(lists),
        rules=rules,
        counts={
            **raw.counts(),
            "users": len(data.users),
            "items": len(data.items),
            "interactions": len(data.sequence),
            "lists": len(lists.users),
            **_count_parts(parts, lists.users),
            "users without lists": len(data.users) - len(np.unique(lists.users)),
            "lists without positives": int((lists.labels.sum(axis=1) == 0).sum()),
            "lists with a repeated item": int(
                (np.diff(np.sort(lists.items, axis=1), axis=1) == 0).any(axis=1).sum()
            ),
        },
        brands=tuple(raw.brands[item] for item in data.items) if raw.brands else (),
        profiles=_select_profiles(raw, user_ids),
    )
    empty = [part for part in ("train", "test") if not len(prepared.rows(part))]
    if empty:
        message = f"No list is left for {' and '.join(empty)}: there are {len(user_ids)} users."
        raise BenchError(message, kar.TOO_SMALL)
    return prepared


def limit_users(
    lists: PreparedLists, limits: Mapping[str, int | None], *, seed: int
) -> PreparedLists:
    """Keep a random subset of the users with lists, and their lists.

    Items that are in no list any more stay numbered. With the same seed, a smaller limit keeps a
    subset of the users that a larger one keeps; without a limit, a part also keeps its users
    without lists.
    """
    keep = np.zeros(len(lists.user_ids), dtype=bool)
    with_lists = np.unique(lists.users)
    for number, part in enumerate(PARTS):
        if limits[part] is None:
            keep |= lists.parts == number
            continue
        members = with_lists[lists.parts[with_lists] == number]
        rng = np.random.default_rng(derive_seed("users of a part", part, seed))
        keep[rng.permutation(members)[: limits[part]]] = True
    if keep.all():
        return lists
    rows, interactions = keep[lists.users], keep[lists.owners]
    parts, users = lists.parts[keep], (np.cumsum(keep) - 1)[lists.users[rows]]
    ends = np.concatenate(([0], np.cumsum(np.diff(lists.ends)[keep]))).astype(np.int64)
    return replace(
        lists,
        user_ids=tuple(compress(lists.user_ids, keep)),
        profiles=tuple(compress(lists.profiles, keep)),
        parts=parts,
        starts=lists.starts[keep],
        ends=ends,
        sequence=lists.sequence[interactions],
        ratings=lists.ratings[interactions],
        users=users,
        **{name: getattr(lists, name)[rows] for name in ("first", "items", "labels", "real")},
        counts={**lists.counts, **_count_parts(parts, users, "kept ")},
    )


def number_attributes(
    fields: Sequence[Sequence[str]],
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Number attribute values by first appearance, item by item; all fields share the numbers.

    Empty values become "unknown" with a number of its own.

    Returns:
        Numbers from 1, shape (items, F); and the values, the first of which is number 1.

    Example:
        >>> table, names = number_attributes([["b", "a"], ["", "b"]])
        >>> table.tolist(), names
        ([[1, 2], [3, 1]], ('b', 'unknown', 'a'))
    """
    number: dict[str, int] = {}
    rows = [
        [number.setdefault(value or UNKNOWN_ATTRIBUTE, len(number) + 1) for value in values]
        for values in zip(*fields, strict=True)
    ]
    return np.array(rows, dtype=np.int32).reshape(-1, len(fields)), tuple(number)


def select_category(categories: Sequence[Sequence[str]], index: int) -> list[str]:
    """Return the category of each item at an index of its list; empty text where it has none.

    ML-1M's attribute is the first genre (index 0). The first element of an Amazon path is the shop,
    so the next one is used (index 1).
    """
    return [names[index].strip() if len(names) > index else "" for names in categories]


def _assign_parts(data: kar.UserSequences, valid_share: float, seed: int) -> NDArray[np.int8]:
    parts = np.full(len(data.users), PARTS.index("train"), dtype=np.int8)
    parts[data.test_users] = PARTS.index("test")
    rng = np.random.default_rng(derive_seed("validation users", seed))
    is_valid = choose_random_rows(len(data.train_users), valid_share, rng)
    parts[data.train_users[is_valid]] = PARTS.index("valid")
    return parts


def _select_profiles(raw: RawData, user_ids: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    if not raw.profiles:
        return ()
    missing = [user for user in user_ids if user not in raw.profiles]
    if missing:
        message = f"The file of users has no profile of user {missing[0]!r}, who has interactions."
        raise BenchError(message, "Use the file that belongs to these interactions.")
    return tuple(raw.profiles[user] for user in user_ids)


def _count_parts(
    parts: NDArray[np.int8], users: NDArray[np.int64], prefix: str = ""
) -> dict[str, int]:
    """Count users and lists by part; `users` are those of the lists."""
    return {
        f"{prefix}{part} {name}": int((numbers == number).sum())
        for name, numbers in (("users", parts), ("lists", parts[users]))
        for number, part in enumerate(PARTS)
    }
