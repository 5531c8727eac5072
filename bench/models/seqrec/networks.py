"""The item-ID networks, from item embeddings to an output layer; their files and scores.

Row form means one history and one next item per training row, as in the public code of the LLM
papers' baselines: histories padded on the right, the state read at the last item, an output layer
separate from the item embeddings. For sequence form, see `bench.models.seqrec.training`.

Tensor names end in their shape: B batch, Q query positions, L length, C test cases, H history,
D hidden size, I items.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.models.lm.devices import select_device, to_device
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


CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
BATCH_SIZE = 1024

NETWORKS: Mapping[str, tuple[type[RowNetwork], type[ItemModelConfig]]] = {
    "SASRec": (SASRec, SASRecConfig),
    "GRU4Rec": (GRU4Rec, GRU4RecConfig),
}

Scorer: TypeAlias = Callable[[NDArray[np.int32]], NDArray[np.float32]]


def save(model: RowNetwork, folder: Path) -> None:
    """Write the weights (safetensors) and the configuration (JSON) into an existing folder."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    content = {
        "network": model.name,
        "config": asdict(model.config),
        "num_items": model.num_items,
        "max_length": model.max_length,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=2) + "\n")


def load(folder: Path) -> RowNetwork:
    """Load a saved model in evaluation mode; the caller's random state is unchanged.

    Raises:
        BenchError: The folder has no saved model.
    """
    try:
        content = json.loads((folder / CONFIG_FILE).read_text())
        network_class, config_class = NETWORKS[content.pop("network")]
        config = config_class(**content.pop("config"))
        with torch.random.fork_rng(devices=[]):
            model = network_class(config, **content)
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BenchError(f"{folder} has no item-ID model: {error}.", "Train it first.") from error
    return model.eval()


def load_scorer(weights: Path, catalog: Catalog, *, batch_size: int = BATCH_SIZE) -> Scorer:
    """Load a model that scores the whole catalog for each history, items of the history included.

    Returns:
        A function from histories, shape (C, H), padded on the right with -1, to scores, shape
        (C, I), higher is better.

    Raises:
        BenchError: The folder has no saved model, or one of a catalog of another size.
    """
    model = load(weights).to(select_device())
    if model.num_items != len(catalog):
        raise BenchError(
            f"{model.name} was trained on {model.num_items} items, but the catalog has "
            f"{len(catalog)}.",
            "Train and rank with the same catalog.",
        )

    def score(histories: NDArray[np.int32]) -> NDArray[np.float32]:
        items_CL, lengths_C = model.encode_histories(histories)
        scores_CI = np.empty((len(histories), len(catalog)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), batch_size):
                rows = slice(start, start + batch_size)
                inputs = (to_device(each[rows], model.device) for each in (items_CL, lengths_C))
                scores_CI[rows] = model.output(model(*inputs)).cpu().numpy()
        return scores_CI

    return score
