"""A re-ranker: features of every place of a list, then a backbone; and how it lies in a folder.

The features of a place are embeddings of the item and its attributes and, with knowledge, what the
adapter makes of texts about the user and the item. The user as such is never seen: a text about
them is the only personal thing there is (KAR, Xi et al., RecSys 2024).

Tensor names end in their shape: B batch, L list length, D width of the features, I items with 0 for
none, F attributes of an item, T width of a text's vector.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.models.rerank.adapter import WIDTH, Adapter
from bench.models.rerank.dlcm import DLCM
from bench.models.rerank.layers import set_first_weights
from bench.models.rerank.prm import PRM
from bench.models.rerank.setrank import TEMPERATURE, SetRank

EMBEDDING = 32
BACKBONES = ("dlcm", "prm", "setrank")
WEIGHTS, SETTINGS = "model.safetensors", "sizes.json"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What makes up a re-ranker.

    Attributes:
        backbone: One of `BACKBONES`.
        num_items: Items, numbered from 1.
        num_attributes: Attributes, numbered from 1; 0 for none.
        fields: Attributes of each item, F.
        text_width: Width of the texts' vectors; 0 without knowledge.
        user_texts: Whether users have texts.
        item_texts: Whether items have texts.
        shared: Experts that both kinds of texts share.
        dedicated: Experts of each kind alone.
        loss: SetRank's.
        temperature: SetRank's.

    Raises:
        BenchError: The backbone is unknown, or texts and their width do not go together.
    """

    backbone: str
    num_items: int
    num_attributes: int
    fields: int
    text_width: int = 0
    user_texts: bool = False
    item_texts: bool = False
    shared: int = 2
    dedicated: int = 5
    loss: str = "kar_offset"
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise unknown("backbone", self.backbone, BACKBONES)
        if (self.text_width > 0) != (self.towers > 0):
            raise BenchError(
                f"Texts of width {self.text_width} and {self.towers} kinds of them do not fit.",
                "Give vectors of users, of items or of both, or none at all.",
            )
        if self.towers and (self.shared < 1 or self.dedicated < 1):
            raise BenchError(
                f"An adapter of {self.shared} shared and {self.dedicated} dedicated experts.",
                "Give at least one of each.",
            )
        if self.temperature <= 0:
            raise BenchError(f"The temperature is {self.temperature}.", "Give one above 0.")

    @property
    def towers(self) -> int:
        """Kinds of texts."""
        return self.user_texts + self.item_texts

    @property
    def width(self) -> int:
        """Width of the features of one place, D."""
        return EMBEDDING * (1 + self.fields) + WIDTH * self.towers


class Reranker(nn.Module):
    """From item numbers to scores.

    Args:
        sizes: Its sizes.
        attributes_IF: Attribute numbers of each item; row 0 is for no item.
        texts_IT: Vectors of the items' texts, if they have any; row 0 is for no item.
    """

    attribute_numbers: Tensor
    item_texts: Tensor | None

    def __init__(self, sizes: Sizes, attributes_IF: Tensor, texts_IT: Tensor | None = None) -> None:
        super().__init__()
        assert attributes_IF.shape == (sizes.num_items + 1, sizes.fields)
        assert (texts_IT is not None) == sizes.item_texts
        self.sizes = sizes
        self.items = nn.Embedding(sizes.num_items + 1, EMBEDDING)
        self.attributes = nn.Embedding(sizes.num_attributes + 1, EMBEDDING)
        self.register_buffer("attribute_numbers", attributes_IF, persistent=False)
        self.register_buffer("item_texts", texts_IT, persistent=False)
        self.adapter = None
        if sizes.towers:
            self.adapter = Adapter(
                sizes.text_width,
                towers=sizes.towers,
                shared=sizes.shared,
                dedicated=sizes.dedicated,
            )
        self.backbone = _backbone(sizes)
        for part in (self.items, self.attributes, self.backbone):
            set_first_weights(part)
        if isinstance(self.backbone, SetRank):
            self.backbone.set_offset()

    def forward(self, items_BL: Tensor, users_BT: Tensor | None = None) -> Tensor:
        """Score every place of every list.

        Args:
            items_BL: Item numbers, from 1.
            users_BT: Vectors of the users' texts, where users have texts.

        Returns:
            Scores, higher is better, shape (B, L).
        """
        scores_BL: Tensor = self.backbone(self.features(items_BL, users_BT))
        return scores_BL

    def features(self, items_BL: Tensor, users_BT: Tensor | None = None) -> Tensor:
        """Put together what is known of every place, shape (B, L, D)."""
        assert (users_BT is not None) == self.sizes.user_texts, "user texts, or none"
        attributes_BLX = self.attributes(self.attribute_numbers[items_BL]).flatten(2)
        parts = [self.items(items_BL), attributes_BLX]
        if self.adapter is not None and users_BT is not None:
            adapted_BD = self.adapter(users_BT, 0)
            parts.append(adapted_BD[:, None].expand(-1, items_BL.shape[1], -1))
        if self.adapter is not None and self.item_texts is not None:
            # An item that stands in many lists of the batch goes through the adapter once.
            distinct, place_BL = torch.unique(items_BL, return_inverse=True)
            adapted = self.adapter(self.item_texts[distinct], self.sizes.towers - 1)
            parts.append(adapted[place_BL])
        return torch.cat(parts, dim=-1)

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the training loss of each list, shape (B,)."""
        return self.backbone.losses(scores_BL, labels_BL)


def _backbone(sizes: Sizes) -> DLCM | PRM | SetRank:
    if sizes.backbone == "dlcm":
        return DLCM(sizes.width)
    if sizes.backbone == "prm":
        return PRM(sizes.width)
    return SetRank(sizes.width, loss=sizes.loss, temperature=sizes.temperature)


def save(model: Reranker, folder: Path) -> None:
    """Write sizes and weights into an existing folder; the items' texts are kept elsewhere."""
    save_file(model.state_dict(), folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(asdict(model.sizes), indent=1), encoding="utf-8")


def load(folder: Path, attributes_IF: Tensor, texts_IT: Tensor | None = None) -> Reranker:
    """Read what `save` wrote, in evaluation mode.

    Args:
        folder: Where it lies.
        attributes_IF: As it was made with.
        texts_IT: As it was made with.

    Raises:
        BenchError: The folder holds no re-ranker.
    """
    try:
        sizes = Sizes(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
        with torch.random.fork_rng(devices=[]):
            model = Reranker(sizes, attributes_IF, texts_IT)
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise BenchError(f"{folder} holds no re-ranker: {error}.", "Train it again.") from error
    return model.eval()
