"""Layers and initial weights that the re-rankers share.

Tensor names end in their shape: B batch, L list length, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_HEADS = 2
HIDDEN_WIDTHS = (200, 80)


class AttentionScorer(nn.Module):
    """One self-attention layer over a list; a perceptron scores its output next to its input."""

    splits = True
    """Whether splitting a batch into micro-batches leaves the result unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, NUM_HEADS, batch_first=True)
        layers: list[nn.Module] = []
        inputs = 2 * width
        for outputs in HIDDEN_WIDTHS:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.head = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def logits(self, features_BLD: Tensor) -> Tensor:
        """Return a real number for every position, shape (B, L)."""
        mixed_BLD, _ = self.attention(features_BLD, features_BLD, features_BLD, need_weights=False)
        logits_BL: Tensor = self.head(torch.cat((mixed_BLD, features_BLD), dim=-1)).squeeze(-1)
        return logits_BL


def initialize_weights(module: nn.Module) -> None:
    """Set KAR's initial weights: Xavier-normal for linear layers and embeddings, biases 0.

    Recurrent weights, the attention's input projection and batch normalization keep torch's own.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.xavier_normal_(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
