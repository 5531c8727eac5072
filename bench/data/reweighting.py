"""RW's row weights: how rare a target's category is among targets, compared with histories.

Category re-weighting of IFairLRS (Jiang et al., WWW 2024, arXiv 2402.15215). A category that users
often have in their histories but seldom as their next item gives its rows more weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.windows import Windows


def category_weights(windows: Windows, catalog: Catalog) -> NDArray[np.float64]:
    """Weight rows by the tracked categories of their targets.

    A category's weight is its share of all category marks in histories over its share of those of
    targets; an item with three categories leaves three marks. A row's weight is the mean over its
    target's categories. Where there is nothing to go by, a target without any tracked category or
    histories without any mark, it is 1.

    Args:
        windows: The N rows that are trained on, no others.
        catalog: Knows the categories.

    Returns:
        Weights from 0, shape (N,).
    """
    marks = catalog.shares > 0
    num_items = len(catalog)
    seen = np.bincount(windows.histories[windows.histories >= 0], minlength=num_items) @ marks
    known = windows.targets >= 0
    hit = np.bincount(windows.targets[known], minlength=num_items) @ marks
    weights = np.ones(len(windows))
    if not seen.sum() or not hit.sum():
        return weights
    # A category that no target has weighs no row.
    by_category = (seen / seen.sum()) / np.where(hit, hit / hit.sum(), 1)
    marks_of_rows = marks[windows.targets] & known[:, np.newaxis]
    num_marks = marks_of_rows.sum(axis=1)
    marked = num_marks > 0
    weights[marked] = (marks_of_rows @ by_category)[marked] / num_marks[marked]
    return weights


def by_category(
    responses: Sequence[Sequence[int]], windows: Windows, catalog: Catalog, tokenizer: object
) -> list[NDArray[np.float64]]:
    """Give all tokens of a response its row's weight.

    For `sft(weights="bench.data.reweighting:by_category", mean_over="rows")`.

    Args:
        responses: Token ids of each response.
        windows: The rows.
        catalog: Knows the categories.
        tokenizer: Not needed.
    """
    weights = category_weights(windows, catalog)
    return [
        np.full(len(response), weight) for response, weight in zip(responses, weights, strict=True)
    ]
