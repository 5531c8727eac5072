"""RW's row weights: how rare a target's category is among targets, compared with histories.

Category re-weighting of IFairLRS (Jiang et al., WWW 2024, arXiv 2402.15215): rows whose target has
a category that is frequent in histories but rare among targets get more weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.windows import Windows


def compute_row_weights(windows: Windows, catalog: Catalog) -> NDArray[np.float64]:
    """Weight N training rows, at least 0, by the tracked categories of their targets, shape (N,).

    A category's weight is its share of all category occurrences in histories over its share of
    those in targets; an item with three categories counts once for each. A row's weight is the mean
    over its target's categories; it is 1 for a target without tracked categories, and for all rows
    if no history has one.
    """
    has_category = catalog.shares > 0
    num_items = len(catalog)
    histories = windows.histories[windows.histories >= 0]
    in_histories = np.bincount(histories, minlength=num_items) @ has_category
    is_item = windows.targets >= 0
    in_targets = np.bincount(windows.targets[is_item], minlength=num_items) @ has_category
    weights = np.ones(len(windows))
    if not in_histories.sum() or not in_targets.sum():
        return weights
    # The weight of a category that no target has is never used.
    target_shares = np.where(in_targets, in_targets / in_targets.sum(), 1)
    category_weights = (in_histories / in_histories.sum()) / target_shares
    row_categories = has_category[windows.targets] & is_item[:, np.newaxis]
    num_categories = row_categories.sum(axis=1)
    tracked = num_categories > 0
    weights[tracked] = (row_categories @ category_weights)[tracked] / num_categories[tracked]
    return weights


def weight_by_category(
    responses: Sequence[Sequence[int]], windows: Windows, catalog: Catalog, tokenizer: object
) -> list[NDArray[np.float64]]:
    """Give all tokens of a response its row's weight, as token weights of fine-tuning."""
    weights = compute_row_weights(windows, catalog)
    return [
        np.full(len(response), weight) for response, weight in zip(responses, weights, strict=True)
    ]
