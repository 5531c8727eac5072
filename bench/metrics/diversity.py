"""Diversity of a set of top-k lists, from how often each item is shown.

Every function takes counts of shape (..., I) and returns shape (...), so that a test of
significance can hand in thousands of permuted sets at once. DivRatio and ORRatio follow SPRec (Gao
et al., WWW 2025, section 5.1.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer] | NDArray[np.floating]

OVERRECOMMENDED = 3


def div_ratio(counts: Counts, slots: int) -> NDArray[np.float64]:
    """Share of the slots that distinct items fill.

    Args:
        counts: How often each item is shown, shape (..., I); items never shown may be left out.
        slots: Number of lists times k, from 1.

    Returns:
        Values in [0, 1], shape (...).
    """
    return _floats(np.count_nonzero(counts, axis=-1)) / slots


def or_ratio(counts: Counts, slots: int) -> NDArray[np.float64]:
    """Share of the slots that the three most shown items fill, whatever k.

    Args:
        counts: How often each item is shown, shape (..., I); items never shown may be left out.
        slots: Number of lists times k, from 1.

    Returns:
        Values in [0, 1], shape (...).
    """
    if counts.shape[-1] <= OVERRECOMMENDED:
        return _floats(counts.sum(axis=-1)) / slots
    largest = np.partition(counts, -OVERRECOMMENDED, axis=-1)[..., -OVERRECOMMENDED:]
    return _floats(largest.sum(axis=-1)) / slots


def coverage(counts: Counts, num_items: int) -> NDArray[np.float64]:
    """Share of the catalog that is shown at least once.

    Args:
        counts: How often each item is shown, shape (..., I); items never shown may be left out.
        num_items: Size of the whole catalog, at least I.

    Returns:
        Values in [0, 1], shape (...).
    """
    return div_ratio(counts, num_items)


def gini(counts: Counts, num_items: int) -> NDArray[np.float64]:
    """Gini index of the exposure of the whole catalog; items never shown count as zeros.

    With the N counts in rising order, `2 * sum_i(i * x_i) / (N * sum_i(x_i)) - (N + 1) / N`, i from
    1: 0 if all items are shown equally often, `1 - 1/N` if only one is. A set that shows no item
    at all gets 1, for it must not pass as perfectly even.

    Args:
        counts: How often each item is shown, shape (..., I); items never shown may be left out.
        num_items: Size of the whole catalog, at least I.

    Returns:
        Values in [0, 1], shape (...).
    """
    width = counts.shape[-1]
    assert width <= num_items, "more counts than items"
    rising = _floats(np.sort(counts, axis=-1))
    places = np.arange(num_items - width + 1, num_items + 1, dtype=np.float64)
    total = rising.sum(axis=-1)
    weighted = rising @ places
    mean_place = np.divide(
        weighted, total, out=np.full_like(total, num_items + 0.5), where=total > 0
    )
    return _floats((2 * mean_place - (num_items + 1)) / num_items)


def _floats(values: Any) -> NDArray[np.float64]:
    # Sums over a lone axis come back as scalars; an array keeps one return type for all shapes.
    return np.asarray(values, dtype=np.float64)
