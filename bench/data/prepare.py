"""From raw files to prepared data: read, filter, sort, cut, split, choose categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cards import DatasetCard
from bench.data.catalogue import Catalogue
from bench.data.categories import idle_names, tracked_categories
from bench.data.filters import kept_interactions
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import RawData
from bench.data.readers import read
from bench.data.split import Samples, covered, interaction_order, samples
from bench.errors import BenchError, unknown


def prepare(card: DatasetCard, paths: Mapping[str, Path]) -> Prepared:
    """Prepare a data set.

    The catalogue holds all titled items of the item file, in its order, whether or not anybody
    interacted with them (SPRec); a minimum of interactions an item, if the card sets one, is a
    condition on items and takes the others out of the catalogue too (D3, IGD).

    Args:
        card: The data set's card.
        paths: Its raw files by role.

    Raises:
        BenchError: For files that are not as they should be, or where no sample is left.
    """
    raw = read(card.reader, paths, card.fields)
    table = _filtered(raw, card)
    cut = samples(table.users, table.times, card.split)
    if not len(cut.target):
        raise BenchError(
            f"{card.title} has no sample: no user has more than {card.split.min_history} of the "
            f"{len(table.users):,} interactions that are left of {raw.num_lines:,}.",
            "Relax [filters] or min_history in the card.",
        )
    train = slice(0, cut.boundaries[0])
    counted = covered(cut.start[train], cut.target[train], len(table.users))
    catalogue = Catalogue(
        ids=tuple(raw.item_ids[item] for item in table.catalogue),
        titles=tuple(raw.titles[item] for item in table.catalogue),
        categories=tuple(raw.categories[item] for item in table.catalogue),
        tracked=tracked_categories(
            [raw.categories[item] for item in table.catalogue],
            table.items[counted],
            card.categories,
        ),
    )
    return Prepared(
        catalogue=catalogue,
        user_ids=table.user_ids,
        users=table.users,
        items=table.items,
        ratings=table.ratings,
        times=table.times,
        start=cut.start,
        target=cut.target,
        boundaries=cut.boundaries,
        history=card.split.history,
        counts=_counts(raw, table, catalogue, cut),
        notes=tuple(
            f"The card leaves out the category {name!r}, which no item has."
            for name in idle_names(raw.categories, card.categories)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Table:
    """What the filters left: sorted interactions with positions renumbered, and kept raw items."""

    user_ids: tuple[str, ...]
    catalogue: NDArray[np.intp]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]


def _filtered(raw: RawData, card: DatasetCard) -> _Table:
    keep = kept_interactions(raw.users, raw.items, raw.ratings, card.filters)
    # Users are numbered by their first interaction that is left, as the papers' code does after
    # its own filters; ties in time between users are broken by this number.
    left, first, inverse = np.unique(raw.users[keep], return_index=True, return_inverse=True)
    by_appearance = np.argsort(first, kind="stable")
    number = np.empty(len(left), dtype=np.int32)
    number[by_appearance] = np.arange(len(left), dtype=np.int32)
    users: NDArray[np.int32] = number[inverse]
    in_catalogue = np.ones(len(raw.item_ids), dtype=bool)
    if card.filters.min_item_interactions:
        in_catalogue = np.bincount(raw.items[keep], minlength=len(raw.item_ids)) > 0
    position = np.cumsum(in_catalogue).astype(np.int32) - np.int32(1)
    order = interaction_order(users, raw.times[keep], raw.lines[keep])
    return _Table(
        user_ids=tuple(raw.user_ids[user] for user in left[by_appearance]),
        catalogue=np.flatnonzero(in_catalogue),
        users=users[order],
        items=position[raw.items[keep]][order],
        ratings=raw.ratings[keep][order],
        times=raw.times[keep][order],
    )


def _counts(raw: RawData, table: _Table, catalogue: Catalogue, cut: Samples) -> dict[str, int]:
    ends = (0, *cut.boundaries, len(cut.target))
    return {
        "lines": raw.num_lines,
        **{f"rejected: {reason}": num for reason, num in raw.rejected.items()},
        "filtered out": len(raw.users) - len(table.users),
        "duplicates": raw.num_duplicates,
        "titles mended": raw.titles_mended,
        "users": len(table.user_ids),
        "items": len(catalogue),
        "titles": len(set(catalogue.titles)),
        "items with interactions": len(np.unique(table.items)),
        "interactions": len(table.users),
        "samples": len(cut.target),
        **{name: ends[place + 1] - ends[place] for place, name in enumerate(SPLITS)},
    }


def mismatches(card: DatasetCard, counts: Mapping[str, int]) -> list[str]:
    """Say, in sentences, where the counts are not those that the card expects.

    Raises:
        BenchError: Where the card expects a count that does not exist.
    """
    for name in card.expected:
        if name not in counts:
            raise unknown("count", name, counts)
    return [
        f"{card.title} has {counts[name]:,} {name}, the card expects {num:,}."
        for name, num in card.expected.items()
        if counts[name] != num
    ]
