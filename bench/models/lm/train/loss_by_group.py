"""The training loss of tokens with zero, low and high information gain (IGD, section 4.2.1).

Shapes: G groups, N supervised tokens of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

NEITHER, ZERO_GAIN, LOW_GAIN, HIGH_GAIN = -1, 0, 1, 2
"""Groups of tokens; NEITHER are prompts and responses that are not titles."""

NAMES = {ZERO_GAIN: "zero_gain", LOW_GAIN: "low_gain", HIGH_GAIN: "high_gain"}


class GroupLoss(TrainerCallback):
    """Computes the mean cross-entropy per group and epoch of training.

    Attributes:
        means: One mean per epoch for each group; 0 where the epoch had no token of the group.
    """

    def __init__(self) -> None:
        self.means: dict[int, list[float]] = {group: [] for group in NAMES}
        self._sums: Tensor | None = None

    def add(self, cross_entropies_N: Tensor, groups_N: Tensor) -> None:
        """Add a micro-batch's tokens, without waiting for the device."""
        members_GN = torch.stack([groups_N == group for group in NAMES]).double()
        sums_2G = torch.stack(
            [members_GN @ cross_entropies_N.detach().double(), members_GN.sum(dim=1)]
        )
        before = 0 if self._sums is None else self._sums.to(sums_2G.device)
        self._sums = sums_2G + before

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Append the epoch's means."""
        if self._sums is None:
            return
        for group, total, count in zip(NAMES, *self._sums.tolist(), strict=True):
            self.means[group].append(total / max(count, 1))
        self._sums = None

    def snapshot(self) -> dict[str, Tensor]:
        """Return the means of past epochs, and the sums of the current one."""
        means_GE = torch.tensor([self.means[group] for group in NAMES], dtype=torch.float64)
        return {"means": means_GE, **({} if self._sums is None else {"sums": self._sums})}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from there."""
        self.means = dict(zip(NAMES, state["means"].tolist(), strict=True))
        self._sums = state.get("sums")

    def means_by_epoch(self, decimals: int) -> dict[str, list[float]]:
        """Return the means under their names in results."""
        return {
            f"loss_{NAMES[group]}_by_epoch": [round(mean, decimals) for mean in means]
            for group, means in self.means.items()
            if means
        }
