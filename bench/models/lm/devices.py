"""What PyTorch sees of this machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU: its name, memory in GiB, and whether it computes in bfloat16."""

    name: str
    memory_gib: float
    bfloat16: bool


def gpus() -> list[Device]:
    """Describe the GPUs that PyTorch sees."""
    found = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        with torch.cuda.device(number):
            bfloat16 = torch.cuda.is_bf16_supported()
        found.append(
            Device(
                name=properties.name,
                memory_gib=properties.total_memory / 2**30,
                bfloat16=bfloat16,
            )
        )
    return found


def has_cuda() -> bool:
    """Tell whether this PyTorch was built for NVIDIA's cards."""
    return torch.version.cuda is not None


def threads() -> int:
    """Return how many threads PyTorch would take by itself."""
    return torch.get_num_threads()
