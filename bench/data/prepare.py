"""From raw files to prepared data: read, filter, sort, cut, split, choose categories."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import Categories, DatasetCard, Filters
from bench.data.catalog import Catalog
from bench.data.categories import idle_names, tracked_categories
from bench.data.filters import in_window, kept_interactions, window_starts
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import RawData
from bench.data.readers import read
from bench.data.released_splits import PEERS, read_samples
from bench.data.split import Samples, covered, interaction_order, samples
from bench.data.titles import title_passes
from bench.errors import BenchError, unknown

SHUFFLE_SEED = 42


def prepare(card: DatasetCard, paths: Mapping[str, Path]) -> Prepared:
    """Prepare a data set.

    The catalog holds all titled items of the item file, in its order, whether or not anybody
    interacted with them (SPRec); a minimum of interactions an item, if the card sets one, is a
    condition on items and takes the others out of the catalog too (D3, IGD). Items that the
    title rule rejects are in no catalog. Other projects' ready samples are only read.

    Args:
        card: The data set's card.
        paths: Its raw files by role.

    Raises:
        BenchError: For files that are not as they should be, or where no sample is left.
    """
    if card.reader in PEERS:
        return read_samples(card, paths)
    raw = read(card.reader, paths, card.fields)
    left = surviving(raw, card)
    table = _sorted(raw, left, card.filters)
    cut = samples(table.users, table.times, card.split)
    if not len(cut.target):
        raise BenchError(
            f"{card.title} has no sample: no user has more than {card.split.min_history} of the "
            f"{len(table.users):,} interactions that are left of {raw.num_lines:,}.",
            "Relax [titles], [filters] or min_history in the card.",
        )
    train = slice(0, cut.boundaries[0])
    counted = covered(cut.start[train], cut.target[train], len(table.users))
    categories = tuple(raw.categories[item] for item in table.catalog)
    catalog = Catalog(
        ids=tuple(raw.item_ids[item] for item in table.catalog),
        titles=tuple(left.titles[item] for item in table.catalog),
        categories=categories,
        tracked=tracked_categories(categories, table.items[counted], card.categories),
    )
    return Prepared(
        catalog=catalog,
        user_ids=table.user_ids,
        users=table.users,
        items=table.items,
        ratings=table.ratings,
        times=table.times,
        start=cut.start,
        target=cut.target,
        boundaries=cut.boundaries,
        history=card.split.history,
        counts=_counts(raw, left, table, catalog, cut),
        notes=(*_window_notes(left, card.filters), *_category_notes(raw, card.categories)),
    )


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """What titles, window and core leave.

    Attributes:
        titles: Title of each raw item, mended; empty where it has no usable one, shape (items,).
        keep: True for the interactions that stay, shape (L,).
        start: First day of the window, after moving; None for no bound.
        num_items: Items with interactions left.
    """

    titles: tuple[str, ...]
    keep: NDArray[np.bool_]
    start: date | None
    num_items: int


def surviving(raw: RawData, card: DatasetCard) -> Survivors:
    """Apply title rule, window and core; move the window back until enough items are left.

    Each move begins again from all interactions, but, as in D3, not from the original titles: they
    are mended once more.
    """
    filters = card.filters
    lines = ((title, *raw.further_titles.get(item, ())) for item, title in enumerate(raw.titles))
    passes = title_passes(lines, card.titles.profile)
    found = None
    for start, titles in zip(window_starts(filters), passes, strict=False):
        titled = np.array([bool(title) for title in titles], dtype=bool)
        inside = in_window(raw.times, start, filters.end) & titled[raw.items]
        keep = kept_interactions(raw.users, raw.items, raw.ratings, filters, keep=inside)
        num_items = len(np.unique(raw.items[keep]))
        found = Survivors(titles=titles, keep=keep, start=start, num_items=num_items)
        if num_items >= filters.min_items:
            break
    assert found is not None, "there is always a first start"
    return found


@dataclass(frozen=True, kw_only=True)
class _Table:
    """What the filters left: sorted interactions with positions renumbered, and kept raw items."""

    user_ids: tuple[str, ...]
    catalog: NDArray[np.int32]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]


def _sorted(raw: RawData, left: Survivors, filters: Filters) -> _Table:
    keep = left.keep
    # Users are numbered by their first interaction that is left, as the papers' code does after
    # its own filters; ties in time between users are broken by this number.
    by_appearance, users = _by_appearance(raw.users[keep])
    catalog = _catalog(raw.items[keep], left.titles, filters)
    position = np.full(len(raw.item_ids), -1, dtype=np.int32)
    position[catalog] = np.arange(len(catalog), dtype=np.int32)
    order = interaction_order(users, raw.times[keep], raw.lines[keep])
    return _Table(
        user_ids=tuple(raw.user_ids[user] for user in by_appearance),
        catalog=catalog,
        users=users[order],
        items=position[raw.items[keep]][order],
        ratings=raw.ratings[keep][order],
        times=raw.times[keep][order],
    )


def _by_appearance(values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct values in order of first appearance, and each value's place in it."""
    distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    number = np.empty(len(distinct), dtype=np.int32)
    number[order] = np.arange(len(distinct), dtype=np.int32)
    return distinct[order], number[inverse]


def _catalog(
    items: NDArray[np.int32], titles: Sequence[str], filters: Filters
) -> NDArray[np.int32]:
    """Return the raw items of the catalog in its order; `items` are those of what is left."""
    if filters.catalog == "shuffled":
        appeared = _by_appearance(items)[0].tolist()
        # No secret hangs on it: D3's own generator and seed make its item numbers.
        random.Random(SHUFFLE_SEED).shuffle(appeared)  # noqa: S311
        return np.array(appeared, dtype=np.int32)
    stays = np.array([bool(title) for title in titles], dtype=bool)
    if filters.min_item_interactions:
        stays &= np.bincount(items, minlength=len(titles)) > 0
    return np.flatnonzero(stays).astype(np.int32)


def _window_notes(left: Survivors, filters: Filters) -> list[str]:
    notes = []
    if left.start != filters.start:
        notes.append(f"The window begins on {left.start}, moved back from {filters.start}.")
    if left.num_items < filters.min_items:
        notes.append(
            f"{left.num_items:,} items are left, fewer than the {filters.min_items:,} asked for."
        )
    return notes


def _category_notes(raw: RawData, choice: Categories) -> list[str]:
    return [
        f"The card leaves out the category {name!r}, which no item has."
        for name in idle_names(raw.categories, choice)
    ]


def _counts(
    raw: RawData, left: Survivors, table: _Table, catalog: Catalog, cut: Samples
) -> dict[str, int]:
    ends = (0, *cut.boundaries, len(cut.target))
    return {
        "lines": raw.num_lines,
        **{f"rejected: {reason}": num for reason, num in raw.rejected.items()},
        "filtered out": len(raw.users) - len(table.users),
        "duplicates": raw.num_duplicates,
        "titles mended": raw.titles_mended,
        "titles rejected": left.titles.count(""),
        "users": len(table.user_ids),
        "items": len(catalog),
        "titles": len(set(catalog.titles)),
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
