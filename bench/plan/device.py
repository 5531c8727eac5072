"""The device class that a plan is for: "cuda" where PyTorch can use an NVIDIA GPU, else "cpu".

Stages that can use a GPU have another key there, since their sums are rounded differently.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

Device: TypeAlias = Literal["cpu", "cuda"]

_planned: ContextVar[Device | None] = ContextVar("planned", default=None)


@contextmanager
def plan_for(device: Device | None) -> Iterator[None]:
    """Plan for a device class; None for this machine's."""
    token = _planned.set(device)
    try:
        yield
    finally:
        _planned.reset(token)


def planned_device() -> Device:
    """Return the device class that plans are made for."""
    return _planned.get() or detect_device()


def detect_device() -> Device:
    """Return the device class of this machine."""
    return "cuda" if count_gpus() else "cpu"


@cache
def count_gpus() -> int:
    """Return the GPUs that PyTorch can use, without importing it, which takes seconds."""
    torch = find_spec("torch")
    folders = map(Path, torch.submodule_search_locations or ()) if torch else ()
    if not any((folder / "lib" / "libtorch_cuda.so").exists() for folder in folders):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")  # respects CUDA_VISIBLE_DEVICES
    except OSError:
        return 0
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value
