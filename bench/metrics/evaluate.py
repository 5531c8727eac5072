"""All metrics of one ranking, with SPRec's denominators (Gao et al., WWW 2025, and its scorer).

Of the n cases, the m with a target in the catalog are known. HR, NDCG and Hallucination are means
over all n; the lists of unknown cases enter no other metric; histories of all n cases make up the
history's mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import LIST_ENDS, NOT_AN_ITEM, Ranking
from bench.errors import BenchError
from bench.metrics.accuracy import hits, ndcg
from bench.metrics.diversity import coverage, div_ratio, gini, or_ratio
from bench.metrics.fairness import dgu, group_unfairness, mgu
from bench.metrics.names import Metric


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The metrics of C cases, and what a test of significance needs to compute them anew.

    Attributes:
        metrics: Value of each metric by its name. Fairness metrics are absent where the catalog
            tracks no category.
        cases: Values of HR, NDCG and Hallucination case by case, shape (C,) each; their means are
            in `metrics`.
        ranks: Place of the target, from 0, shape (C,); -1 where it is absent or unknown. Of an
            item that stands twice in a list, the first place counts.
        masses: By k, the raw category mass of each top-k list, shape (C, G); zero for unknown
            cases.
        history_mass: Raw category mass of all histories, shape (G,).
        known: Which cases have a target in the catalog, shape (C,).
    """

    metrics: dict[str, float]
    cases: dict[str, NDArray[np.float64]]
    ranks: NDArray[np.int32]
    masses: dict[int, NDArray[np.float64]]
    history_mass: NDArray[np.float64]
    known: NDArray[np.bool_]


def evaluate(
    ranking: Ranking,
    *,
    targets: NDArray[np.integer],
    histories: NDArray[np.integer],
    catalog: Catalog,
    ks: Sequence[int],
) -> Scores:
    """Compute every metric at every k.

    A place without a catalog item (-1) counts as a slot, but adds neither an item nor category
    mass. Hallucination is the share of cases whose first recommendation is no catalog item, or
    stands in for a text that names none (`Ranking.valid`).

    Args:
        ranking: The lists of C cases, each at least as long as the largest k.
        targets: Item that came next, shape (C,); -1 if it is not in the catalog.
        histories: Items seen before, shape (C, H); -1 for padding and unknown items.
        catalog: The items, with the tracked categories.
        ks: Lengths of the lists, from 1, in any order.

    Returns:
        The scores, with the metrics in rising order of k.

    Raises:
        BenchError: There are no cases or no known targets, a list is shorter than a k, or the
            ranking does not fit the cases or the catalog.
    """
    lengths = sorted(set(ks))
    _check_cases(ranking, targets, histories)
    _check_lists(ranking, len(catalog), lengths)
    known = targets >= 0
    if not known.any():
        raise BenchError(
            "No case has a target in the catalog.",
            "Check that targets and catalog use the same item ids.",
        )
    ranks = _places(ranking.items, targets)
    cases: dict[str, NDArray[np.float64]] = {}
    for k in lengths:
        cases[Metric(family="HR", k=k).name] = hits(ranks, k)
        cases[Metric(family="NDCG", k=k).name] = ndcg(ranks, k)
    hallucinated = ranking.items[:, 0] == NOT_AN_ITEM
    if ranking.valid is not None:
        hallucinated = hallucinated | ~ranking.valid
    cases[Metric(family="Hallucination").name] = hallucinated.astype(np.float64)
    masses = _masses(ranking.items, known, catalog.shares, lengths)
    history_mass = _item_counts(histories, len(catalog)) @ catalog.shares

    metrics = {name: float(values.mean()) for name, values in cases.items()}
    for k in lengths:
        metrics |= _diversity(ranking.items[known, :k], len(catalog), k)
        metrics |= _fairness(masses[k].sum(axis=0), history_mass, catalog.tracked, k)
    return Scores(
        metrics=metrics,
        cases=cases,
        ranks=ranks,
        masses=masses,
        history_mass=history_mass,
        known=known,
    )


def _check_cases(
    ranking: Ranking, targets: NDArray[np.integer], histories: NDArray[np.integer]
) -> None:
    assert len(targets) == len(histories), "targets and histories are of different splits"
    if len(ranking) != len(targets):
        raise BenchError(
            f"The ranking has {len(ranking)} cases where {len(targets)} were asked.",
            "Give one list a case, in the order of the cases.",
        )
    if not len(targets):
        raise BenchError("There are no cases to score.", "Check the split and its filters.")


def _check_lists(ranking: Ranking, num_items: int, lengths: list[int]) -> None:
    if not lengths or lengths[0] < 1:
        raise BenchError(
            f"Metrics were asked at k = {lengths}.", "Give at least one k, each from 1."
        )
    items = ranking.items
    strange = ((items < LIST_ENDS) | (items >= num_items)).any(axis=1)
    if strange.any():
        raise BenchError(
            f"The list of case {int(np.argmax(strange))} has an item position outside the "
            f"catalog's 0 to {num_items - 1}.",
            "A recommendation that is not in the catalog is written -1.",
        )
    held = np.count_nonzero(items != LIST_ENDS, axis=1)
    short = held < lengths[-1]
    if short.any():
        case = int(np.argmax(short))
        raise BenchError(
            f"Case {case} has {held[case]} items, k={lengths[-1]} asked.",
            f"Rank at least {lengths[-1]} items a case or ask for a smaller k.",
        )


def _places(items: NDArray[np.int32], targets: NDArray[np.integer]) -> NDArray[np.int32]:
    """First place of each target; an unknown target must not meet the -1 of a place."""
    found = (items == targets[:, np.newaxis]) & (targets >= 0)[:, np.newaxis]
    return np.where(found.any(axis=1), found.argmax(axis=1), -1).astype(np.int32)


def _masses(
    items: NDArray[np.int32],
    known: NDArray[np.bool_],
    shares: NDArray[np.float64],
    lengths: list[int],
) -> dict[int, NDArray[np.float64]]:
    # The extra row of zeros is what position -1 picks.
    padded = np.vstack([shares, np.zeros((1, shares.shape[1]))])
    mass = np.zeros((len(items), shares.shape[1]))
    masses = {}
    for place in range(lengths[-1]):
        mass += padded[np.where(known, items[:, place], -1)]
        if place + 1 in lengths:
            masses[place + 1] = mass.copy()
    return masses


def _item_counts(items: NDArray[np.integer], num_items: int) -> NDArray[np.integer]:
    return np.bincount(items[items >= 0], minlength=num_items)


def _diversity(items: NDArray[np.int32], num_items: int, k: int) -> dict[str, float]:
    counts = _item_counts(items, num_items)
    return {
        Metric(family="DivRatio", k=k).name: float(div_ratio(counts, items.size)),
        Metric(family="ORRatio", k=k).name: float(or_ratio(counts, items.size)),
        Metric(family="Coverage", k=k).name: float(coverage(counts, num_items)),
        Metric(family="Gini", k=k).name: float(gini(counts, num_items)),
    }


def _fairness(
    recommended: NDArray[np.float64],
    history: NDArray[np.float64],
    tracked: tuple[str, ...],
    k: int,
) -> dict[str, float]:
    if not tracked:
        return {}
    values = {
        Metric(family="MGU", k=k).name: float(mgu(recommended, history)),
        Metric(family="DGU", k=k).name: float(dgu(recommended, history)),
    }
    for category, distance in zip(tracked, group_unfairness(recommended, history), strict=True):
        values[Metric(family="GU", category=category, k=k).name] = float(distance)
    return values
