"""Threads that torch computes with: part of a stage's key, since sums depend on their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.errors import BenchError


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """Let torch compute with a number of threads, at least 1, within the block."""
    if threads < 1:
        raise BenchError(f"Nothing can be computed with {threads} threads.", "Set 1 or more.")
    previous = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
