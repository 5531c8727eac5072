"""All metrics of one ranking, or of re-ranked lists.

SPRec's denominators (Gao et al., WWW 2025, and its scorer): of the n test cases, m have a target in
the catalog. Per-case metrics are means over all n; set-level metrics use the lists of those m only,
and the category mass of histories is summed over all n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.ranking import LIST_ENDS, NOT_AN_ITEM, Ranking
from bench.errors import BenchError
from bench.metrics.metric import CategoryMass, ItemCounts, Labels, Metric, RankedCases, Values
from bench.metrics.registry import BUILT_IN
from bench.metrics.rerank import sort_labels

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The metrics of C cases, and what a significance test needs to compute them again.

    Attributes:
        metrics: Value of each metric by name. Fairness metrics are absent where the catalog tracks
            no category, metrics of generated texts where the ranking has none.
        cases: Values of the per-case metrics by name, shape (C,) each; their means are in
            `metrics`.
        ranks: Rank of the target, from 0, shape (C,); see `RankedCases.ranks`.
        masses: Category mass of each top-k list by k, shape (C, G); 0 for unknown targets.
        history_masses: Category mass of each case's history, shape (C, G).
        known: Which cases have a target in the catalog, shape (C,).
    """

    metrics: dict[str, float]
    cases: dict[str, Values]
    ranks: NDArray[np.int32]
    masses: dict[int, Values]
    history_masses: Values
    known: NDArray[np.bool_]


def evaluate(
    ranking: Ranking,
    *,
    targets: NDArray[np.integer],
    histories: NDArray[np.integer],
    catalog: Catalog,
    ks: Sequence[int],
    plugins: Iterable[Metric] = (),
) -> Scores:
    """Compute every built-in metric, and those of plug-ins, at every k.

    A position without a catalog item (-1) counts as a recommendation, but adds neither an item nor
    category mass.

    Args:
        ranking: The lists of C cases, each at least as long as the largest k.
        targets: Item that came next, shape (C,); -1 if it is not in the catalog.
        histories: Items seen before, shape (C, H); -1 for padding and unknown items.
        catalog: The items, with the tracked categories.
        ks: Lengths of the lists, from 1, in any order.
        plugins: Metric families of plug-ins.

    Returns:
        The scores, per-case metrics first, in ascending order of k.

    Raises:
        BenchError: If there are no cases or no known targets, a list is shorter than a k, the
            ranking does not fit the cases or the catalog, or a plug-in returns invalid values.
    """
    lengths = _sort_lengths(ks)
    _check_cases(ranking, targets, histories)
    _check_lists(ranking, len(catalog), lengths)
    known = targets >= 0
    if not known.any():
        message = "No case has a target in the catalog."
        raise BenchError(message, "Check that targets and catalog use the same item ids.")
    families = [metric for metric in (*BUILT_IN, *plugins) if metric.of_rankings]
    ranked = RankedCases(
        ranking=ranking,
        ranks=_find_ranks(ranking.items, targets),
        targets=targets,
        histories=histories,
        catalog=catalog,
    )
    cases = {
        metric.name: _checked(metric, metric.score_cases(ranked, metric.k or 1), (len(targets),))
        for metric in _at_each_k(families, lengths)
        if metric.score_cases and (ranking.texts is not None or not metric.needs_texts)
    }
    counted = np.where(known[:, np.newaxis], ranking.items, NOT_AN_ITEM)
    masses = _sum_masses(counted, catalog.shares, lengths)
    (history_masses,) = _sum_masses(histories, catalog.shares, [histories.shape[1]]).values()
    history_mass = history_masses.sum(axis=0)
    metrics = _average(cases)
    for k in lengths:
        lists = ItemCounts(
            counts=_count_items(ranking.items[known, :k], len(catalog)),
            num_lists=np.asarray(known.sum(), dtype=np.float64),
            k=k,
            num_items=len(catalog),
        )
        metrics |= _score_sets(families, lists, masses[k].sum(axis=0), history_mass, catalog)
    return Scores(
        metrics=metrics,
        cases=cases,
        ranks=ranked.ranks,
        masses=masses,
        history_masses=history_masses,
        known=known,
    )


@dataclass(frozen=True, kw_only=True)
class ListScores:
    """The metrics of N re-ranked lists: means by name, and values per list, shape (N,)."""

    metrics: dict[str, float]
    lists: dict[str, Values]


def evaluate_lists(
    scores: NDArray[np.floating],
    labels: Labels,
    *,
    ks: Sequence[int],
    plugins: Iterable[Metric] = (),
) -> ListScores:
    """Compute every metric of re-ranked lists at every k; lists without a positive count as 0.

    Scores are higher for better items, labels 0 or 1, shape (N, L) both.

    Raises:
        BenchError: If there is no list, a k is below 1, or a score is not finite.
    """
    lengths = _sort_lengths(ks)
    if not len(labels):
        raise BenchError("There are no lists to score.", "Check the split and the labels.")
    ordered = sort_labels(scores, labels)
    families = [metric for metric in (*BUILT_IN, *plugins) if metric.of_lists]
    lists = {
        metric.name: _checked(metric, metric.score_labels(ordered, metric.k or 1), (len(labels),))
        for metric in _at_each_k(families, lengths)
        if metric.score_labels
    }
    return ListScores(metrics=_average(lists), lists=lists)


def _average(values: Mapping[str, Values]) -> dict[str, float]:
    return {name: float(value.mean()) for name, value in values.items()}


def _sort_lengths(ks: Sequence[int]) -> list[int]:
    lengths = sorted(set(ks))
    if not lengths or lengths[0] < 1:
        raise BenchError(f"Metrics at k = {lengths} are not defined.", "Give at least one k >= 1.")
    return lengths


def _at_each_k(families: Sequence[Metric], lengths: Sequence[int]) -> list[Metric]:
    """Return the metrics in ascending order of k, those that take no k last."""
    with_k = [metric.at(k) for k in lengths for metric in families
              if metric.takes_k and not metric.takes_category]  # fmt: skip
    return [*with_k, *(metric for metric in families if not metric.takes_k)]


def _score_sets(
    families: Sequence[Metric],
    lists: ItemCounts,
    recommended: Values,
    history: Values,
    catalog: Catalog,
) -> dict[str, float]:
    """Compute the set-level metrics at one k."""
    values: dict[str, float] = {}
    for family in families:
        if family.score_counts:
            metric = family.at(lists.k)
            values[metric.name] = float(_checked(metric, family.score_counts(lists), ()))
        elif family.score_masses:
            categories = catalog.tracked if family.takes_category else catalog.tracked[:1]
            for index, category in enumerate(categories):
                metric = family.at(lists.k, category if family.takes_category else None)
                mass = CategoryMass(recommended=recommended, history=history, index=index)
                values[metric.name] = float(_checked(metric, family.score_masses(mass), ()))
    return values


def _checked(metric: Metric, values: Values, shape: tuple[int, ...]) -> Values:
    """Return a metric's values as floats; refuse another shape, and values out of its bounds."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise BenchError(
            f"The metric {metric.name} returned values of shape {values.shape} instead of {shape}.",
            "Return one value per case, or one per set of lists.",
        )
    if not np.isfinite(values).all():
        raise BenchError(f"The metric {metric.name} returned a value that is not finite.")
    outside = values[(values < -ROUNDING) | (values > metric.upper_bound + ROUNDING)]
    if outside.size:
        raise BenchError(
            f"The metric {metric.name} returned {outside[0]:g}, which is outside "
            f"[0, {metric.upper_bound:g}].",
            'Set `maximum` of the metric, float("inf") where it has none.',
        )
    return values


def _check_cases(
    ranking: Ranking, targets: NDArray[np.integer], histories: NDArray[np.integer]
) -> None:
    assert len(targets) == len(histories), "targets and histories belong to different splits"
    if len(ranking) != len(targets):
        message = f"The ranking has {len(ranking)} lists for {len(targets)} test cases."
        raise BenchError(message, "Give one list per case, in the order of the cases.")
    if not len(targets):
        raise BenchError("There are no cases to score.", "Check the split and its filters.")


def _check_lists(ranking: Ranking, num_items: int, lengths: list[int]) -> None:
    items = ranking.items
    invalid = ((items < LIST_ENDS) | (items >= num_items)).any(axis=1)
    if invalid.any():
        raise BenchError(
            f"The list of case {int(np.argmax(invalid))} has an item index outside the catalog's "
            f"0 to {num_items - 1}.",
            "Write -1 for a recommendation that is not in the catalog.",
        )
    num_listed = np.count_nonzero(items != LIST_ENDS, axis=1)
    short = num_listed < lengths[-1]
    if short.any():
        case = int(np.argmax(short))
        raise BenchError(
            f"The list of case {case} has {num_listed[case]} items, fewer than k={lengths[-1]}.",
            f"Rank at least {lengths[-1]} items per case or use a smaller k.",
        )


def _find_ranks(items: NDArray[np.int32], targets: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the first position of each target; an unknown target matches no -1 of a list."""
    matches = (items == targets[:, np.newaxis]) & (targets >= 0)[:, np.newaxis]
    return np.where(matches.any(axis=1), matches.argmax(axis=1), -1).astype(np.int32)


def _sum_masses(
    items: NDArray[np.integer], shares: Values, lengths: list[int]
) -> dict[int, Values]:
    """Sum the category shares of the first items of each row, by their number, shape (C, G)."""
    # Index -1 selects the additional row of zeros.
    padded = np.vstack([shares, np.zeros((1, shares.shape[1]))])
    mass = np.zeros((len(items), shares.shape[1]))
    masses = {}
    for k in range(lengths[-1] + 1):
        if k in lengths:
            masses[k] = mass.copy()
        if k < lengths[-1]:
            mass += padded[items[:, k]]
    return masses


def _count_items(items: NDArray[np.integer], num_items: int) -> NDArray[np.integer]:
    return np.bincount(items[items >= 0], minlength=num_items)
