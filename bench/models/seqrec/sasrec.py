"""SASRec in row form (Kang & McAuley, ICDM 2018): one history, one next item.

The network is the paper's: learned positions, causal self-attention whose queries are normalized
and carried over, a point-wise feed-forward, a last normalization. Its row form is that of the peer
code of the field: histories padded on the right, the state read at the last item, an output layer
of its own instead of the item embeddings, one negative a row, items not scaled by the width.

Tensor names end in their shape: B batch, Q queried places, L length, D width, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.models.seqrec import rows
from bench.models.seqrec.rows import RowNetwork, RowSizes, Scorer


@dataclass(frozen=True, kw_only=True)
class Sizes(RowSizes):
    """What decides the network's shape.

    Attributes:
        hidden: Width, a multiple of `heads`.
        blocks: Self-attention blocks, at least 1.
        heads: Attention heads of each block, at least 1.
        position_std: Standard deviation of the positions' start values. Items start at 0.01;
            public code of the DROS line leaves positions at 1, and it matters: from 2,048 rows of
            ML-100K such a network puts one or two items first for everybody, as in SPRec's
            Table 1, and hundreds with 0.01, while on all rows 1 is the better choice.

    Raises:
        BenchError: A size is out of its range.
    """

    called: ClassVar[str] = "SASRec"

    blocks: int
    heads: int
    position_std: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("blocks", "heads"):
            self._at_least_one(name)
        if self.hidden % self.heads:
            raise BenchError(
                f"{self.hidden} hidden units cannot be shared by {self.heads} heads.",
                "Choose a width that the heads divide.",
            )

    def network(self) -> SASRec:
        """Build the network with random weights."""
        return SASRec(self)


class Block(nn.Module):
    """Self-attention and a point-wise feed-forward, each around a normalized input."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.hidden
        self.heads = sizes.heads
        self.dropout = sizes.dropout
        self.query_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(width, width),
            nn.Dropout(sizes.dropout),
        )

    def forward(self, queried_BQD: Tensor, inputs_BLD: Tensor, visible_QL: Tensor) -> Tensor:
        """Attend from some places to all places that they may see.

        Args:
            queried_BQD: Inputs at the places that ask, before normalization.
            inputs_BLD: Inputs at all places.
            visible_QL: Which places each one may see, shape (Q, L) or (B, Q, L).

        Returns:
            Outputs at the places that ask, shape (B, Q, D).
        """
        normed_BQD = self.query_norm(queried_BQD)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(normed_BQD)),
            self._split(self.key(inputs_BLD)),
            self._split(self.value(inputs_BLD)),
            attn_mask=visible_QL.unsqueeze(-3),
            dropout_p=self.dropout if self.training else 0.0,
        )
        normed_BQD = self.feed_norm(normed_BQD + attended.transpose(1, 2).flatten(2))
        outputs_BQD: Tensor = normed_BQD + self.feed(normed_BQD)
        return outputs_BQD

    def _split(self, inputs_BLD: Tensor) -> Tensor:
        batch, length, width = inputs_BLD.shape
        return inputs_BLD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class SASRec(RowNetwork):
    """The network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.positions = nn.Parameter(torch.empty(sizes.length, sizes.hidden))
        self.dropout = nn.Dropout(sizes.dropout)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes.blocks)])
        self.norm = nn.LayerNorm(sizes.hidden)
        nn.init.normal_(self.positions, std=sizes.position_std)

    def forward(self, items_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the state at each row's last item, shape (B, D).

        Args:
            items_BL: Item ids; those at or after a row's length change nothing.
            lengths_B: Items of each history, from 1.
        """
        length = items_BL.shape[1]
        places_L = torch.arange(length)
        states_BLD = self.dropout(self.items(items_BL) + self.positions[:length])
        earlier_LL = places_L <= places_L[:, None]
        for block in self.blocks[:-1]:
            states_BLD = block(states_BLD, states_BLD, earlier_LL)
        # Nobody reads the last block anywhere but at the last item, and asking there alone makes
        # a training step more than twice as fast.
        last_B = lengths_B - 1
        last_B1D = states_BLD[torch.arange(len(last_B)), last_B].unsqueeze(1)
        earlier_B1L = (places_L <= last_B[:, None]).unsqueeze(1)
        last_B1D = self.blocks[-1](last_B1D, states_BLD, earlier_B1L)
        states_BD: Tensor = self.norm(last_B1D.squeeze(1))
        return states_BD


def load(folder: Path) -> RowNetwork:
    """Read a trained SASRec; see `bench.models.seqrec.rows.load`."""
    return rows.load(folder, Sizes)


def scorer(weights: Path, catalog: Catalog, *, batch: int = 1024) -> Scorer:
    """Score the whole catalog with a trained SASRec; see `bench.models.seqrec.rows.scorer`."""
    return rows.scorer(weights, catalog, Sizes, batch=batch)
