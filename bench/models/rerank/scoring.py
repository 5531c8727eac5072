"""Lists as tensors, and a re-ranker's scores for them.

Tensor names end in their shape: N lists, B batch, L list length, U users, J texts of a user, T
width of a text's vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.metrics.rerank import average_precision, sort_labels
from bench.models.rerank.model import Reranker

SELECTION_K = 5
SCORED_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Lists as tensors.

    Attributes:
        items: Item numbers, from 1, shape (N, L).
        labels: 0 or 1, as floats, shape (N, L).
        users: Whose list it is: a place in `user_texts`, shape (N,).
        user_texts: Vectors of the users' texts, shape (U, J, T); None without. Where a user has
            several, training draws one for every list anew in each epoch, and scoring takes the
            first.
    """

    items: Tensor
    labels: Tensor
    users: Tensor
    user_texts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    def texts(self, chosen: Tensor | slice, drawn: Tensor | int = 0) -> Tensor | None:
        """Return the vectors of some lists' users, one text each, shape (B, T)."""
        if self.user_texts is None:
            return None
        found_BT: Tensor = self.user_texts[self.users[chosen], drawn]
        return found_BT


def scores(model: Reranker, rows: Rows, text: int = 0) -> Tensor:
    """Score lists in evaluation mode, in which the model is left, shape (N, L).

    Args:
        model: The re-ranker.
        rows: The lists.
        text: Which of the users' texts is seen.
    """
    model.eval()
    with torch.inference_mode():
        scored = [
            model(rows.items[part], rows.texts(part, text))
            for part in parts(len(rows), SCORED_AT_ONCE)
        ]
    return torch.cat(scored) if scored else torch.empty(rows.items.shape)


def mean_average_precision(model: Reranker, rows: Rows) -> float:
    """Return KAR's MAP@5 over all lists; those without positives count as 0."""
    ordered = sort_labels(scores(model, rows).numpy(), rows.labels.numpy().astype(np.int8))
    return float(average_precision(ordered, SELECTION_K).mean())


def parts(num_rows: int, size: int) -> Iterator[slice]:
    """Cut rows into parts of at most `size`."""
    return (slice(start, start + size) for start in range(0, num_rows, size))
