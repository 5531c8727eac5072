"""What is unfinished on a device, known on the host without waiting for the device.

Reading a mask from a GPU waits until all queued work is done, and then the GPU waits for the host.
So the host reads each mask some steps late. Whatever is finished stays so: a late mask contains the
current one, and what it adds is computed in vain.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LAG = {"cuda": 2, "cpu": 0}
"""Steps between a mask and its reading, by type of device."""


class LaggedMask:
    """Masks of what is unfinished, one per step.

    Attributes:
        lag: Steps between a mask and its reading; 0 reads the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self.lag = LAG[device.type]
        self._queue: deque[tuple[Tensor, Any]] = deque()

    def push(self, unfinished: Tensor) -> NDArray[np.bool_]:
        """Add the current mask and return that of `lag` steps ago; before, all are unfinished."""
        if unfinished.is_cuda:
            host = torch.empty(unfinished.shape, dtype=torch.bool, pin_memory=True)
            host.copy_(unfinished, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        else:
            host, event = unfinished.clone(), None
        self._queue.append((host, event))
        if len(self._queue) <= self.lag:
            return np.ones(unfinished.shape, dtype=np.bool_)
        host, event = self._queue.popleft()
        if event is not None:
            event.synchronize()
        return np.asarray(host)
