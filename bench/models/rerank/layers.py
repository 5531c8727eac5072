"""What the re-rankers share: the scoring head, first weights, what every backbone offers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

HEAD_WIDTHS = (200, 80)


class Backbone(Protocol):
    """A network from the features of a list to its scores.

    Attributes:
        splits: Whether a batch may be worked off in parts with the same result.
    """

    splits: bool

    def __call__(self, features_BLD: Tensor) -> Tensor:
        """Return a score for every place, shape (B, L)."""
        ...

    def losses(self, scores_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the training loss of each list, shape (B,)."""
        ...


def head(width: int) -> nn.Sequential:
    """Build the perceptron that turns a place's states into one number."""
    layers: list[nn.Module] = []
    for wide in HEAD_WIDTHS:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, 1))


def set_first_weights(module: nn.Module) -> None:
    """Draw KAR's first weights: Xavier-normal for linear layers and tables, biases 0.

    Recurrent weights, the attention's in-projection and batch normalization keep torch's own.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.xavier_normal_(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
