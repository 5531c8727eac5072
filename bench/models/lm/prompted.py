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

from bench.models.lm.decode.generation_state import Running


class PromptedModel:
    """Continues prompts as a beam search asks.

    See `bench.models.lm.decode.constrained_beam.Continuations`.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        self._prompts = prompts
        self._running: Running | None = None

    @torch.inference_mode()
    def start(self) -> Tensor:
        """Read the prompts; the logits of their next tokens, shape (B, V)."""
        self._running = None  # what an earlier search kept makes way first
        self._running = Running(self._model, self._prompts)
        return self._running.logits

    @torch.inference_mode()
    def extend(self, beams_M: Tensor, tokens_M: Tensor) -> Tensor:
        """Append a token to some of the previous call's sequences; logits after it, (M, V)."""
        running = self._running
        assert running is not None, "nothing was started"
        # While every title has one way on only, nothing need be copied.
        if not torch.equal(beams_M, torch.arange(len(running), device=beams_M.device)):
            running.take(beams_M)
        running.add(tokens_M)
        return running.logits


def batches_by_length(
    prompts: Sequence[Sequence[int]], rows: NDArray[np.int64], num: int
) -> list[NDArray[np.int64]]:
    """Split rows into batches of at most `num` prompts of nearly the same length."""
    lengths = np.array([len(prompts[row]) for row in rows], dtype=np.int64)
    in_order = rows[np.argsort(lengths, kind="stable")]
    return [in_order[start : start + num] for start in range(0, len(rows), num)]
