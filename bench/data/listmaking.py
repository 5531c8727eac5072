"""From raw interactions to re-ranking data: KAR's users and lists, attributes, validation users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data import kar
from bench.data.lists import PARTS, Lists
from bench.data.raw import RawData
from bench.errors import BenchError
from bench.records import derive_seed

UNKNOWN = "unknown"


def make_lists(
    raw: RawData,
    rules: kar.Rules,
    *,
    fields: Sequence[Sequence[str]],
    valid_share: float,
    seed: int,
) -> Lists:
    """Make users and lists of a data set as it was read.

    Args:
        raw: The data set.
        rules: KAR's rules for it.
        fields: For each attribute, that of every raw item; empty text for none.
        valid_share: Share of the training users that is set apart for validation, from 0 to 1.
        seed: Decides which ones.

    Raises:
        BenchError: Ratings are missing, items are too few, or nobody is left in a part.
    """
    if not 0 <= valid_share < 1:
        raise BenchError(
            f"A share of {valid_share} of the training users cannot be set apart.",
            "Give a share from 0 to below 1.",
        )
    data = kar.sequences(
        users=raw.users,
        items=raw.items,
        ratings=raw.ratings,
        times=raw.times,
        with_metadata=np.ones(len(raw.item_ids), dtype=bool),
        rules=rules,
    )
    made = kar.lists(data, rules)
    # Attributes are numbered in the order of the item file, items by first appearance.
    table, names = attribute_table([[column[i] for i in np.sort(data.items)] for column in fields])
    place = np.searchsorted(np.sort(data.items), data.items)
    parts = _parts(data, valid_share, seed)
    lists = Lists(
        user_ids=tuple(raw.user_ids[user] for user in data.users),
        item_ids=tuple(raw.item_ids[item] for item in data.items),
        titles=tuple(raw.titles[item] for item in data.items),
        attributes=table[place],
        attribute_names=names,
        parts=parts,
        starts=data.starts,
        ends=data.ends,
        sequence=data.sequence,
        ratings=data.ratings,
        users=made.users,
        first=made.first,
        items=made.items,
        labels=made.labels,
        real=made.real,
        rules=rules,
        counts=_counts(raw, data, made, parts),
    )
    empty = [part for part in ("train", "test") if not len(lists.rows(part))]
    if empty:
        raise BenchError(
            f"No list is left for {' and '.join(empty)}: there are {len(lists.user_ids)} users.",
            "Relax the minima of users and items, or take a larger data set.",
        )
    return lists


def attribute_table(
    fields: Sequence[Sequence[str]],
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Number attributes by first appearance, item by item; all fields share one numbering.

    Args:
        fields: For each of F attributes, that of every item; empty text for none, which becomes
            "unknown" with a number of its own.

    Returns:
        Numbers from 1, shape (items, F); and the names, the first of which is number 1.

    Example:
        >>> table, names = attribute_table([["b", "a"], ["", "b"]])
        >>> table.tolist(), names
        ([[1, 2], [3, 1]], ('b', 'unknown', 'a'))
    """
    number: dict[str, int] = {}
    rows = [
        [number.setdefault(name or UNKNOWN, len(number) + 1) for name in names]
        for names in zip(*fields, strict=True)
    ]
    return np.array(rows, dtype=np.int32).reshape(-1, len(fields)), tuple(number)


def category_field(categories: Sequence[Sequence[str]], place: int) -> list[str]:
    """Return of each item the category at a place of its list; empty text where it has none.

    ML-1M's attribute is the first genre (place 0). Of an Amazon path the first element is the shop,
    so the next one is taken (place 1).
    """
    return [names[place].strip() if len(names) > place else "" for names in categories]


def _parts(data: kar.Sequences, valid_share: float, seed: int) -> NDArray[np.int8]:
    parts = np.full(len(data.users), PARTS.index("train"), dtype=np.int8)
    parts[data.test_users] = PARTS.index("test")
    numbers = np.random.default_rng(derive_seed("validation users", seed))
    apart = numbers.permutation(len(data.train_users))[: round(valid_share * len(data.train_users))]
    parts[data.train_users[apart]] = PARTS.index("valid")
    return parts


def _counts(
    raw: RawData, data: kar.Sequences, made: kar.Lists, parts: NDArray[np.int8]
) -> dict[str, int]:
    part_of_list = parts[made.users]
    return {
        "lines": raw.num_lines,
        **{f"rejected: {reason}": num for reason, num in raw.rejected.items()},
        "users": len(data.users),
        "items": len(data.items),
        "interactions": len(data.sequence),
        "lists": len(made.users),
        **{f"{part} users": int((parts == n).sum()) for n, part in enumerate(PARTS)},
        **{f"{part} lists": int((part_of_list == n).sum()) for n, part in enumerate(PARTS)},
        "users without lists": len(data.users) - len(np.unique(made.users)),
        "lists without positives": int((made.labels.sum(axis=1) == 0).sum()),
        "lists with a repeated item": int(_repeats(made.items).sum()),
    }


def _repeats(items: NDArray[np.int32]) -> NDArray[np.bool_]:
    ordered = np.sort(items, axis=1)
    repeats: NDArray[np.bool_] = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return repeats
