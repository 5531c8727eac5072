"""From raw interactions to re-ranking data: KAR's users and lists, attributes, validation users.

Titles and brands are taken as the reader gives them; how prompts write them is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.data import kar
from bench.data.prepared_lists import PARTS, Lists
from bench.data.raw import RawData
from bench.errors import BenchError
from bench.hashing import derive_seed

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
        brands=tuple(raw.brands[item] for item in data.items) if raw.brands else (),
        profiles=_profiles(raw, data),
    )
    empty = [part for part in ("train", "test") if not len(lists.rows(part))]
    if empty:
        raise BenchError(
            f"No list is left for {' and '.join(empty)}: there are {len(lists.user_ids)} users.",
            "Relax the minima of users and items, or take a larger data set.",
        )
    return lists


def narrowed(lists: Lists, most: Mapping[str, int | None], *, seed: int) -> Lists:
    """Keep at most so many users of each part, drawn among those with lists, and their lists.

    The lists are those of the whole set; items that no list holds any more stay numbered. A smaller
    number with the same seed keeps some of the users that a larger one keeps.

    Args:
        lists: The whole set.
        most: Users by part; None for all of them, those without lists included.
        seed: Decides which ones.
    """
    kept = np.zeros(len(lists.user_ids), dtype=bool)
    with_lists = np.unique(lists.users)
    for number, part in enumerate(PARTS):
        if most[part] is None:
            kept |= lists.parts == number
            continue
        members = with_lists[lists.parts[with_lists] == number]
        numbers = np.random.default_rng(derive_seed("users of a part", part, seed))
        kept[numbers.permutation(members)[: most[part]]] = True
    if kept.all():
        return lists
    place = np.cumsum(kept) - 1
    rows = kept[lists.users]
    lengths = np.diff(lists.ends)
    parts, users = lists.parts[kept], place[lists.users[rows]]
    return replace(
        lists,
        user_ids=tuple(np.array(lists.user_ids, dtype=object)[kept]),
        profiles=tuple(
            profile for profile, keep in zip(lists.profiles, kept, strict=False) if keep
        ),
        parts=parts,
        starts=lists.starts[kept],
        ends=np.concatenate(([0], np.cumsum(lengths[kept]))).astype(np.int64),
        sequence=lists.sequence[np.repeat(kept, lengths)],
        ratings=lists.ratings[np.repeat(kept, lengths)],
        users=users,
        **{name: getattr(lists, name)[rows] for name in ("first", "items", "labels", "real")},
        counts={**lists.counts, **_kept(parts, users)},
    )


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


def _profiles(raw: RawData, data: kar.Sequences) -> tuple[tuple[str, int, int], ...]:
    ids = [raw.user_ids[user] for user in data.users]
    if not raw.profiles:
        return ()
    without = [user for user in ids if user not in raw.profiles]
    if without:
        raise BenchError(
            f"The file of users has no profile of user {without[0]!r}, who has interactions.",
            "Take the file that belongs to these interactions.",
        )
    return tuple(raw.profiles[user] for user in ids)


def _kept(parts: NDArray[np.int8], users: NDArray[np.int64]) -> dict[str, int]:
    counts = {f"kept {part} users": int((parts == n).sum()) for n, part in enumerate(PARTS)}
    of_list = parts[users]
    return counts | {
        f"kept {part} lists": int((of_list == n).sum()) for n, part in enumerate(PARTS)
    }


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
