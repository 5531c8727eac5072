"""From raw files to prepared data: read, filter, sort, window, split, select categories."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.cards import DatasetCard, Filters
from bench.data.catalog import Catalog
from bench.data.filters import filter_interactions, iterate_window_starts, mask_window
from bench.data.prepared import Prepared, complete, describe_unused_names
from bench.data.raw import RawData
from bench.data.readers import read
from bench.data.released_splits import RELEASED_SPLITS, read_samples
from bench.data.split import make_samples, sort_interactions
from bench.data.titles import iterate_title_passes
from bench.errors import BenchError, unknown

SHUFFLE_SEED = 42


def prepare(card: DatasetCard, paths: Mapping[str, Path]) -> Prepared:
    """Prepare a data set.

    The catalog has all titled items of the item file, in its order, whether or not anybody
    interacted with them (SPRec). A minimum of interactions per item, if the card sets one, is a
    condition on items and removes the others from the catalog, too (D3, IGD). Items that the title
    rule rejects are in no catalog. Other projects' ready samples are only read.

    Raises:
        BenchError: A file is malformed, or no sample is left.
    """
    if card.reader in RELEASED_SPLITS:
        return read_samples(card, paths)
    raw = read(card.reader, paths, card.fields)
    survivors = filter_raw(raw, card)
    keep = survivors.keep
    # Users are numbered by their first remaining interaction, as the papers' code does after its
    # own filters; ties in time between users are broken by this number.
    user_order, users = _number_by_appearance(raw.users[keep])
    catalog_items = _select_catalog(raw.items[keep], survivors.titles, card.filters)
    index_of = np.full(len(raw.item_ids), -1, dtype=np.int32)
    index_of[catalog_items] = np.arange(len(catalog_items), dtype=np.int32)
    order = sort_interactions(users, raw.times[keep], raw.lines[keep])
    users, times = users[order], raw.times[keep][order]
    samples = make_samples(users, times, card.split)
    if not len(samples.target):
        raise BenchError(
            f"{card.title} has no sample: no user has more than {card.split.min_history} of the "
            f"{len(users):,} interactions that are left of {raw.num_lines:,}.",
            "Relax [titles], [filters] or min_history in the card.",
        )
    prepared = Prepared(
        catalog=Catalog(
            ids=tuple(raw.item_ids[item] for item in catalog_items),
            titles=tuple(survivors.titles[item] for item in catalog_items),
            categories=tuple(raw.categories[item] for item in catalog_items),
        ),
        user_ids=tuple(raw.user_ids[user] for user in user_order),
        users=users,
        items=index_of[raw.items[keep]][order],
        ratings=raw.ratings[keep][order],
        times=times,
        **vars(samples),
        history=card.split.history,
    )
    counts = {
        **raw.counts(),
        "filtered out": len(raw.users) - len(users),
        "duplicates": raw.num_duplicates,
        "titles cleaned": raw.titles_cleaned,
        "titles rejected": survivors.titles.count(""),
    }
    notes = _describe_window(survivors, card.filters)
    notes += describe_unused_names(raw.categories, card.categories)
    return complete(prepared, card.categories, counts, notes)


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """What is left after title rule, window and core.

    Attributes:
        titles: Title of each raw item after the rule; empty where it has no usable one.
        keep: True for the remaining interactions, shape (L,).
        start: First day of the window, after moving; None for no bound.
    """

    titles: tuple[str, ...]
    keep: NDArray[np.bool_]
    start: date | None
    num_items: int


def filter_raw(raw: RawData, card: DatasetCard) -> Survivors:
    """Apply title rule, window and core; move the window back until enough items are left.

    Each move starts again from all interactions but, as in D3, not from the original titles: the
    rule is applied to its own output once more.
    """
    filters = card.filters
    lines = ((title, *raw.further_titles.get(item, ())) for item, title in enumerate(raw.titles))
    passes = iterate_title_passes(lines, card.titles.profile)
    survivors = None
    for start, titles in zip(iterate_window_starts(filters), passes, strict=False):
        titled = np.array([bool(title) for title in titles], dtype=bool)
        in_window = mask_window(raw.times, start, filters.end) & titled[raw.items]
        keep = filter_interactions(raw.users, raw.items, raw.ratings, filters, keep=in_window)
        num_items = len(np.unique(raw.items[keep]))
        survivors = Survivors(titles=titles, keep=keep, start=start, num_items=num_items)
        if num_items >= filters.min_items:
            break
    assert survivors is not None, "there is always a first start"
    return survivors


def _number_by_appearance(
    values: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct values in order of first appearance, and each value's index in it."""
    distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    number = np.empty(len(distinct), dtype=np.int32)
    number[order] = np.arange(len(distinct), dtype=np.int32)
    return distinct[order], number[inverse]


def _select_catalog(
    items: NDArray[np.int32], titles: Sequence[str], filters: Filters
) -> NDArray[np.int32]:
    """Return the catalog's raw items, in order; `items` are those of the filtered interactions."""
    if filters.catalog == "shuffled":
        appeared = _number_by_appearance(items)[0].tolist()
        # Not for security: D3's own generator and seed give its item numbers.
        random.Random(SHUFFLE_SEED).shuffle(appeared)  # noqa: S311
        return np.array(appeared, dtype=np.int32)
    stays = np.array([bool(title) for title in titles], dtype=bool)
    if filters.min_item_interactions:
        stays &= np.bincount(items, minlength=len(titles)) > 0
    return np.flatnonzero(stays).astype(np.int32)


def _describe_window(survivors: Survivors, filters: Filters) -> list[str]:
    notes = []
    if survivors.start != filters.start:
        notes.append(f"The window begins on {survivors.start}, moved back from {filters.start}.")
    if survivors.num_items < filters.min_items:
        notes.append(
            f"{survivors.num_items:,} items are left, fewer than the {filters.min_items:,} that "
            "the card requires."
        )
    return notes


def find_mismatches(card: DatasetCard, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence per count that differs from what the card expects.

    Raises:
        BenchError: The card expects a count that does not exist.
    """
    for name in card.expected:
        if name not in counts:
            raise unknown("count", name, counts)
    return [
        f"{card.title} has {counts[name]:,} {name}, the card expects {num:,}."
        for name, num in card.expected.items()
        if counts[name] != num
    ]
