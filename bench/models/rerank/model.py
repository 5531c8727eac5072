"""A re-ranker: features of every position of a list, then a backbone; its files and its scores.

The features of a position are embeddings of the item and its attributes and, with knowledge, the
adapter's output for texts about the user and the item. User ids are never used: a text about the
user is the only personal feature (KAR, Xi et al., RecSys 2024).

Tensor names end in their shape: N lists, B batch, L list length, D feature width, I items with 0
for none, F attributes per item, U users, J texts per user, T width of a text vector.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.metrics.rerank import average_precision, sort_labels
from bench.models.lm.devices import to_device
from bench.models.rerank.backbones import (
    DLCM,
    OUTPUT_WIDTH,
    PRM,
    Adapter,
    SetRank,
    initialize_weights,
)
from bench.plan.rerank_stages import RerankerConfig

EMBEDDING_WIDTH = 32
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"

SELECTION_K = 5
EVALUATION_BATCH_SIZE = 2048


@dataclass(frozen=True, kw_only=True)
class FeatureSizes:
    """Sizes of a re-ranker that the data determine.

    Attributes:
        num_items: Items, numbered from 1.
        num_attributes: Distinct attributes, numbered from 1; 0 for none.
        attributes_per_item: Attributes of each item, F.
        text_width: Width of the text vectors, T; 0 without texts.
        user_texts: Whether users have texts.
        item_texts: Whether items have texts.
    """

    num_items: int
    num_attributes: int
    attributes_per_item: int
    text_width: int = 0
    user_texts: bool = False
    item_texts: bool = False

    @property
    def num_towers(self) -> int:
        """Number of kinds of texts."""
        return self.user_texts + self.item_texts

    @property
    def feature_width(self) -> int:
        """Width of the features of one position, D."""
        return EMBEDDING_WIDTH * (1 + self.attributes_per_item) + OUTPUT_WIDTH * self.num_towers


class Reranker(nn.Module):
    """From item numbers to scores; row 0 of attributes and of text vectors is for no item."""

    attribute_numbers: Tensor
    item_texts: Tensor | None

    def __init__(
        self,
        config: RerankerConfig,
        sizes: FeatureSizes,
        attributes_IF: Tensor,
        texts_IT: Tensor | None = None,
    ) -> None:
        super().__init__()
        assert attributes_IF.shape == (sizes.num_items + 1, sizes.attributes_per_item)
        assert (texts_IT is not None) == sizes.item_texts
        self.config = config
        self.sizes = sizes
        self.items = nn.Embedding(sizes.num_items + 1, EMBEDDING_WIDTH)
        self.attributes = nn.Embedding(sizes.num_attributes + 1, EMBEDDING_WIDTH)
        self.register_buffer("attribute_numbers", attributes_IF, persistent=False)
        self.register_buffer("item_texts", texts_IT, persistent=False)
        self.adapter = None
        if sizes.num_towers:
            self.adapter = Adapter(
                sizes.text_width,
                num_towers=sizes.num_towers,
                num_shared=config.num_shared_experts,
                num_dedicated=config.num_dedicated_experts,
            )
        self.backbone = _build_backbone(config, sizes.feature_width)
        for part in (self.items, self.attributes, self.backbone):
            initialize_weights(part)
        if isinstance(self.backbone, SetRank):
            self.backbone.set_offset()

    def forward(self, items_BL: Tensor, users_BT: Tensor | None = None) -> Tensor:
        """Score every position of every list, shape (B, L), higher is better.

        Items are numbered from 1; users have text vectors where they have texts; both are on the
        CPU.
        """
        scores_BL: Tensor = self.backbone(self.features(items_BL, users_BT))
        return scores_BL

    def features(self, items_BL: Tensor, users_BT: Tensor | None = None) -> Tensor:
        """Concatenate the features of every position, shape (B, L, D)."""
        assert (users_BT is not None) == self.sizes.user_texts, "user texts do not fit the sizes"
        device = self.attribute_numbers.device
        numbers_BL = to_device(items_BL, device)
        attributes_BLX = self.attributes(self.attribute_numbers[numbers_BL]).flatten(2)
        parts = [self.items(numbers_BL), attributes_BLX]
        if self.adapter is not None and users_BT is not None:
            adapted_BD = self.adapter(to_device(users_BT, device), 0)
            parts.append(adapted_BD[:, None].expand(-1, items_BL.shape[1], -1))
        if self.adapter is not None and self.item_texts is not None:
            # An item of several lists of the batch passes the adapter once.
            distinct, index_BL = torch.unique(items_BL, return_inverse=True)
            texts = self.item_texts[to_device(distinct, device)]
            adapted = self.adapter(texts, self.sizes.num_towers - 1)
            parts.append(adapted[to_device(index_BL, device)])
        return torch.cat(parts, dim=-1)

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the training loss of each list, shape (B,)."""
        return self.backbone.losses(scores_BL, to_device(labels_BL, scores_BL.device))


def _build_backbone(config: RerankerConfig, width: int) -> DLCM | PRM | SetRank:
    if config.backbone == "dlcm":
        return DLCM(width)
    if config.backbone == "prm":
        return PRM(width)
    return SetRank(width, loss=config.setrank_loss, temperature=config.setrank_temperature)


def save(model: Reranker, folder: Path) -> None:
    """Write the configuration and weights into an existing folder, without the item texts."""
    save_file(model.state_dict(), folder / WEIGHTS_FILE)
    content = {"config": asdict(model.config), "sizes": asdict(model.sizes)}
    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


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
