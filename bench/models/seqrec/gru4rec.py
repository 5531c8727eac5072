"""GRU4Rec (Hidasi et al., ICLR 2016): a recurrent network over one history.

It shares SASRec's rows, losses and training, as in the public code of the LLM papers' item-ID
baselines; the authors' own program trains on session-parallel mini-batches.

Tensor names end in their shape: B batch, L length, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.seqrec.rows import RowNetwork
from bench.plan.item_stages import GRU4RecConfig


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
