"""The item-ID networks: item embeddings, a network over one history, an output layer, the loss.

Row form means one history and one next item per training row, as in the public code of the LLM
papers' baselines: histories padded on the right, the state read at the last item, an output layer
separate from the item embeddings. For sequence form, see `bench.models.seqrec.training`.

Tensor names end in their shape: B batch, Q query positions, L length, H history, D hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError
from bench.plan.item_stages import GRU4RecConfig, ItemModelConfig, SASRecConfig

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
        """
        assert histories.ndim == 2
        assert 1 <= histories.shape[1] <= self.max_length, "histories of another length"
        assert (histories < self.num_items).all(), "items of another catalog"
        is_padding = histories < 0
        assert not (is_padding[:, :-1] & ~is_padding[:, 1:]).any(), "histories padded on the right"
        items = np.where(is_padding, self.num_items, histories).astype(np.int64)
        lengths = np.maximum(np.count_nonzero(~is_padding, axis=1), 1).astype(np.int64)
        return torch.from_numpy(items), torch.from_numpy(lengths)


def bce_losses(positive_B: Tensor, negative_B: Tensor) -> Tensor:
    """Binary cross-entropy averaged over two logits each, (B,): half of the paper's loss."""
    return (functional.softplus(-positive_B) + functional.softplus(negative_B)) / 2


class Block(nn.Module):
    """Self-attention and a point-wise feed-forward network, both on normalized inputs."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.query_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, width),
            nn.Dropout(config.dropout),
        )

    def forward(self, queries_BQD: Tensor, inputs_BLD: Tensor, visible_QL: Tensor) -> Tensor:
        """Attend from the query positions to all positions visible to them, shape (B, Q, D).

        Queries are inputs before normalization; the mask has shape (Q, L) or (B, Q, L).
        """
        normed_BQD = self.query_norm(queries_BQD)
        attended = functional.scaled_dot_product_attention(
            self._split_heads(self.query(normed_BQD)),
            self._split_heads(self.key(inputs_BLD)),
            self._split_heads(self.value(inputs_BLD)),
            attn_mask=visible_QL.unsqueeze(-3),
            dropout_p=self.dropout if self.training else 0.0,
        )
        normed_BQD = self.feed_norm(normed_BQD + attended.transpose(1, 2).flatten(2))
        outputs_BQD: Tensor = normed_BQD + self.feed(normed_BQD)
        return outputs_BQD

    def _split_heads(self, inputs_BLD: Tensor) -> Tensor:
        batch, length, width = inputs_BLD.shape
        heads = self.num_heads
        return inputs_BLD.view(batch, length, heads, width // heads).transpose(1, 2)


class SASRec(RowNetwork):
    """Stacked self-attention blocks over item and position embeddings; see `RowNetwork`."""

    def __init__(self, config: SASRecConfig, *, num_items: int, max_length: int) -> None:
        super().__init__(config, num_items=num_items, max_length=max_length)
        self.positions = nn.Parameter(torch.empty(max_length, config.hidden_size))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(config.hidden_size)
        nn.init.normal_(self.positions, std=config.position_std)

    def forward(self, items_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the state at each row's last item, shape (B, D); see `RowNetwork.forward`."""
        positions_L = torch.arange(items_BL.shape[1], device=items_BL.device)
        states_BLD = self._apply_blocks(items_BL, self.blocks[:-1])
        # Only the last item's output of the last block is used; computing just that one makes a
        # training step more than twice as fast.
        last_B = lengths_B - 1
        rows_B = torch.arange(len(last_B), device=last_B.device)
        last_B1D = states_BLD[rows_B, last_B].unsqueeze(1)
        earlier_B1L = (positions_L <= last_B[:, None]).unsqueeze(1)
        last_B1D = self.blocks[-1](last_B1D, states_BLD, earlier_B1L)
        states_BD: Tensor = self.norm(last_B1D.squeeze(1))
        return states_BD

    def encode(self, items_BL: Tensor) -> Tensor:
        """Return the state after each item, shape (B, L, D); see `RowNetwork.encode`."""
        states_BLD: Tensor = self.norm(self._apply_blocks(items_BL, self.blocks))
        return states_BLD

    def _apply_blocks(self, items_BL: Tensor, blocks: Iterable[nn.Module]) -> Tensor:
        positions_L = torch.arange(items_BL.shape[1], device=items_BL.device)
        states_BLD: Tensor = self.dropout(self.items(items_BL) + self.positions[: len(positions_L)])
        for block in blocks:
            states_BLD = block(states_BLD, states_BLD, positions_L <= positions_L[:, None])
        return states_BLD


class GRU4Rec(RowNetwork):
    """GRU over item embeddings; see `RowNetwork`."""

    def __init__(self, config: GRU4RecConfig, *, num_items: int, max_length: int) -> None:
        super().__init__(config, num_items=num_items, max_length=max_length)
        width = config.hidden_size
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(width, width, num_layers=config.num_layers, batch_first=True)

    def forward(self, items_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the state after each row's last item, shape (B, D); see `RowNetwork.forward`."""
        rows_B = torch.arange(len(lengths_B), device=lengths_B.device)
        states_BD: Tensor = self.encode(items_BL)[rows_B, lengths_B - 1]
        return states_BD

    def encode(self, items_BL: Tensor) -> Tensor:
        """Return the state after each item, shape (B, L, D); see `RowNetwork.encode`."""
        states_BLD: Tensor = self.gru(self.dropout(self.items(items_BL)))[0]
        return states_BLD
