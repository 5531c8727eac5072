"""SASRec in row form (Kang & McAuley, ICDM 2018): self-attention over one history.

The network is the paper's: learned positions, causal self-attention with normalized queries and a
residual connection from them, a point-wise feed-forward network, a final normalization. As in the
public code of the LLM papers' baselines, item embeddings are not scaled by the hidden size.

Tensor names end in their shape: B batch, Q query positions, L length, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.seqrec.rows import RowNetwork
from bench.plan.item_stages import SASRecConfig


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
