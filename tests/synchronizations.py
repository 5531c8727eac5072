"""Counts on a CPU what would make the host wait for a GPU.

These are operations whose shape or result the host needs before it can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "bincount", "is_nonzero", "masked_scatter",
}  # fmt: skip
"""A gradient of `masked_scatter` selects by a mask."""


class _Counter(TorchDispatchMode):
    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        kwargs = kwargs or {}
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
        if name in WAITING or by_mask or unsized:
            self.calls.append(name)
        return func(*args, **kwargs)


@contextmanager
def count_synchronizations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the list to which the name of each such call is appended."""
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(Tensor, name)

        def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return original(tensor, *args, **kwargs)

        return call

    with monkeypatch.context() as patch, _Counter(calls):
        for name in ("tolist", "cpu"):  # not seen by the dispatcher where the tensor is on a CPU
            patch.setattr(Tensor, name, counted(name))
        yield calls
