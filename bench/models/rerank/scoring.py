"""Candidate lists as tensors, and a re-ranker's scores for them.

Tensor names end in their shape: N lists, B batch, L list length, U users, J texts per user, T width
of a text vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.metrics.rerank import average_precision, sort_labels
from bench.models.rerank.model import Reranker

SELECTION_K = 5
EVALUATION_BATCH_SIZE = 2048


@dataclass(frozen=True, kw_only=True)
class ListTensors:
    """Candidate lists as tensors on the CPU; a re-ranker copies each batch to its device.

    Attributes:
        items: Item numbers, from 1, shape (N, L).
        labels: 0 or 1, as floats, shape (N, L).
        users: User of each list, an index of `user_texts`, shape (N,).
        user_texts: Text vectors of the users, shape (U, J, T); None without texts. Of several texts
            per user, training samples one per list and epoch, and scoring takes the first.
    """

    items: Tensor
    labels: Tensor
    users: Tensor
    user_texts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    def text_vectors(self, rows: Tensor | slice, texts: Tensor | int = 0) -> Tensor | None:
        """Return one text vector of each list's user, shape (B, T)."""
        if self.user_texts is None:
            return None
        vectors_BT: Tensor = self.user_texts[self.users[rows], texts]
        return vectors_BT


def score_lists(model: Reranker, lists: ListTensors, text: int = 0) -> Tensor:
    """Score lists with one of the user texts, on the CPU, shape (N, L).

    The model is left in evaluation mode.
    """
    model.eval()
    with torch.inference_mode():
        scores = [
            model(lists.items[rows], lists.text_vectors(rows, text))
            for rows in torch.split(torch.arange(len(lists)), EVALUATION_BATCH_SIZE)
        ]
    return torch.cat(scores).cpu() if len(lists) else torch.empty(lists.items.shape)


def mean_average_precision(model: Reranker, lists: ListTensors) -> float:
    """Return KAR's MAP@5 over all lists; lists without positives count as 0."""
    labels = lists.labels.numpy().astype(np.int8)
    ordered = sort_labels(score_lists(model, lists).numpy(), labels)
    return float(average_precision(ordered, SELECTION_K).mean())
