"""What the item-ID networks share: item embeddings, output layer and loss.

Row form means one history and one next item per training row, as in the public code of the LLM
papers' baselines: histories padded on the right, the state read at the last item, an output layer
separate from the item embeddings. For sequence form, see `bench.models.seqrec.sequences`.

Tensor names end in their shape: B batch, L length, H history, D hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError
from bench.plan.item_stages import ItemModelConfig

ITEM_STD = 0.01


class RowNetwork(nn.Module, ABC):
    """Item embeddings, where id `num_items` is the padding, and a separate output layer.

    A catalog has at least 2 items; histories have up to `max_length`, at least 1.

    Raises:
        BenchError: The catalog or the history is too short.
    """

    def __init__(self, config: ItemModelConfig, *, num_items: int, max_length: int) -> None:
        super().__init__()
        if num_items < 2 or max_length < 1:
            raise BenchError(
                f"{self.name} needs at least 2 items and histories of at least 1 item, not "
                f"{num_items} and {max_length}."
            )
        self.config = config
        self.num_items = num_items
        self.max_length = max_length
        self.items = nn.Embedding(num_items + 1, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, num_items)
        nn.init.normal_(self.items.weight, std=ITEM_STD)

    @property
    def name(self) -> str:
        """The network's name, which also separates its random streams."""
        return type(self).__name__

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.items.weight.device

    @abstractmethod
    def forward(self, items_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the state after each row's last item, shape (B, D).

        Lengths count from 1; ids at or after a row's length have no effect.
        """

    @abstractmethod
    def encode(self, items_BL: Tensor) -> Tensor:
        """Return the state after each item, given it and the items before it, shape (B, L, D)."""

    def logits(self, states_BD: Tensor, items_B: Tensor) -> Tensor:
        """Score one item per state, shape (B,)."""
        # Indexing would add up gradients in an order that changes from run to run.
        weights_BD = functional.embedding(items_B, self.output.weight)
        biases_B1 = functional.embedding(items_B, self.output.bias.unsqueeze(1))
        return (states_BD * weights_BD).sum(-1) + biases_B1.squeeze(1)

    def encode_histories(self, histories: NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """Convert histories, item indices padded with -1, to the network's item ids and lengths.

        An empty history becomes a single padding id. H is from 1 to `max_length`.

        Returns:
            Item ids, shape (B, H), and lengths from 1, shape (B,), both int64.

        Raises:
            BenchError: Histories are too long, contain an unknown item, or continue after padding.
        """
        if histories.ndim != 2 or not 1 <= histories.shape[1] <= self.max_length:
            raise BenchError(
                f"Histories of shape {histories.shape} do not fit a {self.name} of length "
                f"{self.max_length}.",
                "Train and rank with the same history length.",
            )
        if (histories >= self.num_items).any():
            raise BenchError(
                f"A history contains item {histories.max()}, but {self.name} was trained on "
                f"{self.num_items} items.",
                "Train and rank with the same catalog.",
            )
        is_padding = histories < 0
        if (is_padding[:, :-1] & ~is_padding[:, 1:]).any():
            raise BenchError("A history continues after padding.", "Pad histories on the right.")
        items = np.where(is_padding, self.num_items, histories).astype(np.int64)
        lengths = np.maximum(np.count_nonzero(~is_padding, axis=1), 1).astype(np.int64)
        return torch.from_numpy(items), torch.from_numpy(lengths)


def bce_losses(positive_B: Tensor, negative_B: Tensor) -> Tensor:
    """Binary cross-entropy averaged over two logits each, (B,): half of the paper's loss."""
    return (functional.softplus(-positive_B) + functional.softplus(negative_B)) / 2
