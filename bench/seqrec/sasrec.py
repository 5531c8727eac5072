"""SASRec in row form (Kang & McAuley, ICDM 2018): one history, one next item.

The network is the paper's: learned positions, causal self-attention whose queries are normalised
and carried over, a point-wise feed-forward, a last normalisation. Its row form is that of the peer
code of the field: histories padded on the right, the state read at the last item, an output layer
of its own instead of the item embeddings, one negative a row, items not scaled by the width.

Tensor names end in their shape: B batch, Q queried places, L length, D width, I items.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.data.catalogue import Catalogue
from bench.errors import BenchError

ITEM_STD = 0.01
SIZES_FILE = "sizes.json"
WEIGHTS_FILE = "model.safetensors"

Scorer: TypeAlias = Callable[[NDArray[np.int32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What decides the network's shape.

    Attributes:
        num_items: Items of the catalogue, at least 2.
        length: Longest history, at least 1.
        hidden: Width, a multiple of `heads`.
        blocks: Self-attention blocks, at least 1.
        heads: Attention heads of each block, at least 1.
        dropout: Share of activations dropped in training, from 0, below 1.
        position_std: Standard deviation of the positions' start values. Items start at 0.01;
            public code of the DROS line leaves positions at 1, and it matters: from 2,048 rows of
            ML-100K such a network puts one or two items first for everybody, as in SPRec's
            Table 1, and hundreds with 0.01, while on all rows 1 is the better choice.

    Raises:
        BenchError: A size is out of its range.
    """

    num_items: int
    length: int
    hidden: int
    blocks: int
    heads: int
    dropout: float
    position_std: float = 1.0

    def __post_init__(self) -> None:
        if self.num_items < 2:
            raise BenchError("SASRec needs a catalogue of two items or more.")
        for name in ("length", "hidden", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise BenchError(f"SASRec's {name} is {getattr(self, name)}.", "Give 1 or more.")
        if self.hidden % self.heads:
            raise BenchError(
                f"{self.hidden} hidden units cannot be shared by {self.heads} heads.",
                "Choose a width that the heads divide.",
            )
        if not 0 <= self.dropout < 1:
            raise BenchError(
                f"SASRec's dropout is {self.dropout}.", "Give a share from 0, below 1."
            )


class Block(nn.Module):
    """Self-attention and a point-wise feed-forward, each around a normalised input."""

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
            queried_BQD: Inputs at the places that ask, before normalisation.
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


class SASRec(nn.Module):
    """The network; item id `num_items` is the padding."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.items = nn.Embedding(sizes.num_items + 1, sizes.hidden)
        self.positions = nn.Parameter(torch.empty(sizes.length, sizes.hidden))
        self.dropout = nn.Dropout(sizes.dropout)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes.blocks)])
        self.norm = nn.LayerNorm(sizes.hidden)
        self.output = nn.Linear(sizes.hidden, sizes.num_items)
        nn.init.normal_(self.items.weight, std=ITEM_STD)
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

    def logits(self, states_BD: Tensor, items_B: Tensor) -> Tensor:
        """Score one item a row, shape (B,)."""
        # Indexing would add up gradients in an order that changes from run to run.
        weights_BD = functional.embedding(items_B, self.output.weight)
        biases_B1 = functional.embedding(items_B, self.output.bias.unsqueeze(1))
        return (states_BD * weights_BD).sum(-1) + biases_B1.squeeze(1)


def bce_row_loss(positive_B: Tensor, negative_B: Tensor) -> Tensor:
    """Binary cross-entropy, its mean over all 2B logits: half the loss of the sequence form.

    Args:
        positive_B: Logits of the targets.
        negative_B: Logits of one item each that was not the target.
    """
    return (functional.softplus(-positive_B) + functional.softplus(negative_B)).mean() / 2


def network_rows(histories: NDArray[np.integer], sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Turn histories padded with -1 into the network's ids and lengths.

    A row without any item becomes one of a single padding id, whose state says no more than that
    nothing is known.

    Args:
        histories: Item positions, shape (B, H) with H up to `sizes.length`.
        sizes: Those of the network.

    Returns:
        Item ids, shape (B, H), and lengths from 1, shape (B,), both int64.

    Raises:
        BenchError: Histories are longer than the network's, name an item that it does not know, or
            go on after padding.
    """
    if histories.ndim != 2 or not 1 <= histories.shape[1] <= sizes.length:
        raise BenchError(
            f"Histories of shape {histories.shape} do not fit a SASRec of length {sizes.length}.",
            "Train and rank with histories of one length.",
        )
    if (histories >= sizes.num_items).any():
        raise BenchError(
            f"A history names item {histories.max()}, and SASRec knows {sizes.num_items} items.",
            "Train and rank with one catalogue.",
        )
    padded = histories < 0
    if (padded[:, :-1] & ~padded[:, 1:]).any():
        raise BenchError("A history goes on after its padding.", "Pad histories on the right.")
    items = np.where(padded, sizes.num_items, histories).astype(np.int64)
    lengths = np.maximum(np.count_nonzero(~padded, axis=1), 1).astype(np.int64)
    return torch.from_numpy(items), torch.from_numpy(lengths)


def save(model: SASRec, folder: Path) -> None:
    """Write the weights as safetensors and the sizes as JSON into an existing folder."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / SIZES_FILE).write_text(json.dumps(asdict(model.sizes), indent=2) + "\n")


def load(folder: Path) -> SASRec:
    """Read what `save` wrote, ready to score.

    The caller's random numbers go on as if nothing had happened.

    Raises:
        BenchError: The folder holds no SASRec.
    """
    if not (folder / SIZES_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise BenchError(f"{folder} holds no SASRec.", "Train it first.")
    sizes = Sizes(**json.loads((folder / SIZES_FILE).read_text()))
    with torch.random.fork_rng(devices=[]):
        model = SASRec(sizes)
    model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model.eval()


def scorer(weights: Path, catalogue: Catalogue, *, batch: int = 1024) -> Scorer:
    """Score the whole catalogue for each history; items of the history are scored like any other.

    Args:
        weights: Folder that `save` wrote.
        catalogue: The catalogue that the model was trained on.
        batch: Histories scored at a time.

    Returns:
        A function from histories, shape (C, H), padded on the right with -1, to scores, shape
        (C, I), higher is better.

    Raises:
        BenchError: The model was trained on a catalogue of another size.
    """
    if batch < 1:
        raise BenchError(f"Histories cannot be scored {batch} at a time.", "Give 1 or more.")
    model = load(weights)
    if model.sizes.num_items != len(catalogue):
        raise BenchError(
            f"SASRec knows {model.sizes.num_items} items and the catalogue has {len(catalogue)}.",
            "Train and rank with one catalogue.",
        )

    def score(histories: NDArray[np.int32]) -> NDArray[np.float32]:
        items_CL, lengths_C = network_rows(histories, model.sizes)
        scores_CI = np.empty((len(histories), len(catalogue)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), batch):
                rows = slice(start, start + batch)
                states_BD = model(items_CL[rows], lengths_C[rows])
                scores_CI[rows] = model.output(states_BD).numpy()
        return scores_CI

    return score
