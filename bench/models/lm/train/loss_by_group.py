"""The training loss of two kinds of tokens: those that tell items apart, and those that do not.

IGD's paper (arXiv 2506.13229) draws both over the epochs of fine-tuning.

Shapes: N supervised tokens of a micro-batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

NEITHER, GAIN, NO_GAIN = -1, 0, 1
"""Groups of tokens; `NEITHER` are prompts and responses that are no title."""

NAMES = {GAIN: "gain", NO_GAIN: "no_gain"}


class GroupLoss(TrainerCallback):
    """Adds up the cross-entropies of an epoch by group, as training sees them.

    Attributes:
        means: By group, one mean an epoch; 0 where the epoch had no token of the group.
    """

    def __init__(self) -> None:
        self.means: dict[int, list[float]] = {group: [] for group in NAMES}
        self._sums: Tensor | None = None

    def add(self, cross_entropies_N: Tensor, groups_N: Tensor) -> None:
        """Take down a micro-batch's tokens, without waiting for the device."""
        of_groups = torch.stack([groups_N == group for group in NAMES]).double()
        values_N = cross_entropies_N.detach().double()
        sums = torch.stack([of_groups @ values_N, of_groups.sum(dim=1)])
        self._sums = sums if self._sums is None else self._sums + sums

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the epoch's means."""
        if self._sums is None:
            return
        for group, total, count in zip(NAMES, *self._sums.tolist(), strict=True):
            self.means[group].append(total / max(count, 1))
        self._sums = None

    def facts(self, decimals: int) -> dict[str, list[float]]:
        """Return the means by epoch, under the names that results know them by."""
        return {
            f"loss_{NAMES[group]}_by_epoch": [round(mean, decimals) for mean in means]
            for group, means in self.means.items()
            if means
        }
