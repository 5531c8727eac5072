"""GRU4Rec in row form (Hidasi et al., ICLR 2016): a recurrent network over one history.

The row form shares SASRec's rows, loss and training, as in the peer code whose item-ID baselines
stand in the tables of language-model papers; the authors' own program trains on parallel sessions.

Tensor names end in their shape: B batch, L length, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.data.catalog import Catalog
from bench.models.seqrec import rows
from bench.models.seqrec.rows import RowNetwork, RowSizes, Scorer


@dataclass(frozen=True, kw_only=True)
class Sizes(RowSizes):
    """What decides the network's shape.

    Attributes:
        layers: Recurrent layers, at least 1.

    Raises:
        BenchError: A size is out of its range.
    """

    called: ClassVar[str] = "GRU4Rec"

    layers: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least_one("layers")

    def network(self) -> GRU4Rec:
        """Build the network with random weights."""
        return GRU4Rec(self)


class GRU4Rec(RowNetwork):
    """The network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.dropout = nn.Dropout(sizes.dropout)
        self.gru = nn.GRU(sizes.hidden, sizes.hidden, num_layers=sizes.layers, batch_first=True)

    def forward(self, items_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the state after each row's last item, shape (B, D).

        Args:
            items_BL: Item ids; those at or after a row's length change nothing.
            lengths_B: Items of each history, from 1.
        """
        states_BLD, _ = self.gru(self.dropout(self.items(items_BL)))
        states_BD: Tensor = states_BLD[torch.arange(len(lengths_B)), lengths_B - 1]
        return states_BD


def load(folder: Path) -> RowNetwork:
    """Read a trained GRU4Rec; see `bench.models.seqrec.rows.load`."""
    return rows.load(folder, Sizes)


def scorer(weights: Path, catalog: Catalog, *, batch: int = 1024) -> Scorer:
    """Score the whole catalog with a trained GRU4Rec; see `bench.models.seqrec.rows.scorer`."""
    return rows.scorer(weights, catalog, Sizes, batch=batch)
