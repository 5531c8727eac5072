"""A causal language model at a batch of prompts: read once, then continued token by token.

Shapes: B prompts, M sequences, L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Put prompts into one array that ends where each of them ends.

    Returns:
        Token ids, shape (B, L), and 1 where there is a token, 0 where there is padding.
    """
    longest = max(map(len, prompts))
    ids_BL = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    for row, prompt in enumerate(prompts):
        ids_BL[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BL[row, longest - len(prompt) :] = 1
    return ids_BL.to(device), mask_BL.to(device)


def positions(mask_BL: Tensor) -> Tensor:
    """Number the tokens of each row from 0; padding before them has 0, too."""
    return (mask_BL.cumsum(dim=-1) - 1).clamp(min=0)


class PromptedModel:
    """Continues prompts as a beam search asks; see `bench.lm.constrained.Continuations`."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        self.model = model
        self.ids_BL, self.mask_ML = left_padded(prompts, device)
        self.cache: Any = None

    def start(self) -> Tensor:
        """Read the prompts; the logits of their next tokens, shape (B, V)."""
        self.cache = None
        return self._forward(self.ids_BL, positions(self.mask_ML))

    def extend(self, beams_M: Tensor, tokens_M: Tensor) -> Tensor:
        """Append a token to some of the previous call's sequences; logits after it, (M, V)."""
        # While every title has one way on only, nothing need be copied.
        if not torch.equal(beams_M, torch.arange(len(self.mask_ML), device=beams_M.device)):
            self.cache.reorder_cache(beams_M)
            self.mask_ML = self.mask_ML[beams_M]
        self.mask_ML = torch.cat([self.mask_ML, self.mask_ML.new_ones(len(tokens_M), 1)], dim=1)
        return self._forward(tokens_M[:, None], positions(self.mask_ML)[:, -1:])

    def _forward(self, ids_ML: Tensor, positions_ML: Tensor) -> Tensor:
        with torch.inference_mode():
            output = self.model(
                input_ids=ids_ML,
                attention_mask=self.mask_ML,
                position_ids=positions_ML,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.cache = output.past_key_values
        logits_MV: Tensor = output.logits[:, -1]
        return logits_MV


def batches_by_length(
    prompts: Sequence[Sequence[int]], rows: NDArray[np.int64], num: int
) -> list[NDArray[np.int64]]:
    """Split rows into batches of at most `num` prompts of nearly the same length."""
    lengths = np.array([len(prompts[row]) for row in rows], dtype=np.int64)
    in_order = rows[np.argsort(lengths, kind="stable")]
    return [in_order[start : start + num] for start in range(0, len(rows), num)]
