"""Row form of item-ID models: one history, one next item, one negative; what the networks share.

The row form is that of the peer code of the field: histories padded on the right, the state read at
the last item, an output layer of its own instead of the item embeddings.

Tensor names end in their shape: B batch, C cases, L length, H history, D width, I items.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.data.catalog import Catalog
from bench.errors import BenchError

ITEM_STD = 0.01
SIZES_FILE = "sizes.json"
WEIGHTS_FILE = "model.safetensors"

Scorer: TypeAlias = Callable[[NDArray[np.int32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class RowSizes(ABC):
    """What decides the shape of a network.

    Attributes:
        num_items: Items of the catalog, at least 2.
        length: Longest history, at least 1.
        hidden: Width, at least 1.
        dropout: Share of activations dropped in training, from 0, below 1.

    Raises:
        BenchError: A size is out of its range.
    """

    called: ClassVar[str]

    num_items: int
    length: int
    hidden: int
    dropout: float

    def __post_init__(self) -> None:
        if self.num_items < 2:
            raise BenchError(f"{self.called} needs a catalog of two items or more.")
        for name in ("length", "hidden"):
            self._at_least_one(name)
        if not 0 <= self.dropout < 1:
            raise BenchError(
                f"{self.called}'s dropout is {self.dropout}.", "Give a share from 0, below 1."
            )

    def _at_least_one(self, name: str) -> None:
        if getattr(self, name) < 1:
            raise BenchError(f"{self.called}'s {name} is {getattr(self, name)}.", "Give 1 or more.")

    @abstractmethod
    def network(self) -> RowNetwork:
        """Build the network with random weights."""


class RowNetwork(nn.Module):
    """Item embeddings, in which id `num_items` is the padding, and an output layer of its own."""

    def __init__(self, sizes: RowSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.items = nn.Embedding(sizes.num_items + 1, sizes.hidden)
        self.output = nn.Linear(sizes.hidden, sizes.num_items)
        nn.init.normal_(self.items.weight, std=ITEM_STD)

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


def network_rows(histories: NDArray[np.integer], sizes: RowSizes) -> tuple[Tensor, Tensor]:
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
            f"Histories of shape {histories.shape} do not fit a {sizes.called} of length "
            f"{sizes.length}.",
            "Train and rank with histories of one length.",
        )
    if (histories >= sizes.num_items).any():
        raise BenchError(
            f"A history names item {histories.max()}, and {sizes.called} knows {sizes.num_items} "
            "items.",
            "Train and rank with one catalog.",
        )
    padded = histories < 0
    if (padded[:, :-1] & ~padded[:, 1:]).any():
        raise BenchError("A history goes on after its padding.", "Pad histories on the right.")
    items = np.where(padded, sizes.num_items, histories).astype(np.int64)
    lengths = np.maximum(np.count_nonzero(~padded, axis=1), 1).astype(np.int64)
    return torch.from_numpy(items), torch.from_numpy(lengths)


def save(model: RowNetwork, folder: Path) -> None:
    """Write the weights as safetensors and the sizes as JSON into an existing folder."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    content = {"network": model.sizes.called, **asdict(model.sizes)}
    (folder / SIZES_FILE).write_text(json.dumps(content, indent=2) + "\n")


def load(folder: Path, sizes_class: type[RowSizes]) -> RowNetwork:
    """Read what `save` wrote, ready to score.

    The caller's random numbers go on as if nothing had happened.

    Raises:
        BenchError: The folder holds no such network.
    """
    if not (folder / SIZES_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise BenchError(f"{folder} holds no {sizes_class.called}.", "Train it first.")
    content = json.loads((folder / SIZES_FILE).read_text())
    if content.pop("network", None) != sizes_class.called:
        raise BenchError(f"{folder} holds no {sizes_class.called}.", "Name its own scorer.")
    sizes = sizes_class(**content)
    with torch.random.fork_rng(devices=[]):
        model = sizes.network()
    model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model.eval()


def scorer(
    weights: Path, catalog: Catalog, sizes_class: type[RowSizes], *, batch: int = 1024
) -> Scorer:
    """Score the whole catalog for each history; items of the history are scored like any other.

    Args:
        weights: Folder that `save` wrote.
        catalog: The catalog that the model was trained on.
        sizes_class: The network's.
        batch: Histories scored at a time.

    Returns:
        A function from histories, shape (C, H), padded on the right with -1, to scores, shape
        (C, I), higher is better.

    Raises:
        BenchError: The model was trained on a catalog of another size.
    """
    if batch < 1:
        raise BenchError(f"Histories cannot be scored {batch} at a time.", "Give 1 or more.")
    model = load(weights, sizes_class)
    if model.sizes.num_items != len(catalog):
        raise BenchError(
            f"{sizes_class.called} knows {model.sizes.num_items} items and the catalog has "
            f"{len(catalog)}.",
            "Train and rank with one catalog.",
        )

    def score(histories: NDArray[np.int32]) -> NDArray[np.float32]:
        items_CL, lengths_C = network_rows(histories, model.sizes)
        scores_CI = np.empty((len(histories), len(catalog)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), batch):
                rows = slice(start, start + batch)
                states_BD = model(items_CL[rows], lengths_C[rows])
                scores_CI[rows] = model.output(states_BD).numpy()
        return scores_CI

    return score
