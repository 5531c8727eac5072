"""Items of one title as one: a model that writes a title cannot say which of them it means.

D3 (Bao et al., EMNLP 2024) and SPRec (Gao et al., WWW 2025) score by title, so items with equal
titles are one item of the catalog, take one place of a list, and are hit by one another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.negatives import number_titles
from bench.data.ranking import LIST_ENDS, Ranking, keep_positions


class Cases(NamedTuple):
    """Arguments of `bench.metrics.evaluate.evaluate`."""

    ranking: Ranking
    targets: NDArray[np.integer]
    histories: NDArray[np.integer]
    catalog: Catalog


def merge_titles(cases: Cases) -> Cases:
    """Replace items by their titles; the first item of a title lends its id, all their categories.

    An item is removed from a list if another of the same title is above it. Items without a title
    stay apart.
    """
    titles = enumerate(cases.catalog.titles)
    title_of_I = number_titles([title if title.strip() else f"\0{item}" for item, title in titles])
    first_T = np.unique(title_of_I, return_index=True)[1]
    if len(first_T) == len(title_of_I):
        return cases
    with_negatives = np.append(title_of_I, [LIST_ENDS, -1]).astype(np.int32)  # at -2 and -1
    return Cases(
        ranking=_merge_lists(cases.ranking, with_negatives),
        targets=with_negatives[cases.targets],
        histories=with_negatives[cases.histories],
        catalog=_merge_catalog(cases.catalog, title_of_I, first_T),
    )


def _merge_catalog(
    catalog: Catalog, title_of_I: NDArray[np.int64], first_T: NDArray[np.int64]
) -> Catalog:
    categories: list[dict[str, None]] = [{} for _ in first_T]
    for title, names in zip(title_of_I, catalog.categories, strict=True):
        categories[title].update(dict.fromkeys(names))
    return Catalog(
        ids=tuple(catalog.ids[item] for item in first_T),
        titles=tuple(catalog.titles[item] for item in first_T),
        categories=tuple(map(tuple, categories)),
        tracked=catalog.tracked,
    )


def _merge_lists(ranking: Ranking, title_of_I: NDArray[np.int32]) -> Ranking:
    titles = title_of_I[ranking.items]
    stays = np.ones(titles.shape, dtype=np.bool_)
    for row, (items, titles_of_row) in enumerate(zip(ranking.items, titles, strict=True)):
        _, first, inverse = np.unique(titles_of_row, return_index=True, return_inverse=True)
        stays[row] = (titles_of_row < 0) | (items == items[first[inverse]])
    return keep_positions(replace(ranking, items=titles), stays)
