"""The GPUs and threads that PyTorch can use on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU: its name, memory in GiB, and whether it supports bfloat16."""

    name: str
    memory_gib: float
    bfloat16: bool


def list_gpus() -> list[Device]:
    """List the visible GPUs."""
    gpus = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        with torch.cuda.device(number):
            bfloat16 = torch.cuda.is_bf16_supported()
        gpus.append(
            Device(
                name=properties.name,
                memory_gib=properties.total_memory / 2**30,
                bfloat16=bfloat16,
            )
        )
    return gpus


def has_cuda() -> bool:
    """Return whether this PyTorch was built for NVIDIA GPUs."""
    return torch.version.cuda is not None


def count_threads() -> int:
    """Return the number of threads that PyTorch uses by default."""
    return torch.get_num_threads()
