"""What a device can do: operations of matrix products, and bytes copied in memory, per second."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SIZES = {"cpu": (1024, 2**24), "cuda": (4096, 2**28)}
"""Rows of the square matrices, and numbers that are copied."""
SECONDS = 0.5


def measure(device: str) -> tuple[str, float, float]:
    """Time matrix products (float32 on CPUs, bfloat16 on GPUs) and copies, a second each.

    Returns:
        The device's name, operations per second, and bytes read and written per second.
    """
    size, length = SIZES[device]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(length, device=device)
    target = torch.empty_like(source)
    products = _time(lambda: torch.mm(left, right), device)
    copies = _time(lambda: target.copy_(source), device)
    is_cuda = device == "cuda"
    name = torch.cuda.get_device_name() if is_cuda else f"{torch.get_num_threads()} threads"
    return name, 2 * size**3 / products, 2 * length * source.element_size() / copies


def _time(work: Callable[[], object], device: str) -> float:
    """Return the seconds of one call, over at least `SECONDS`, after a first one."""

    def call() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls
