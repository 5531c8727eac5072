"""The GPUs and threads that PyTorch can use on this machine, and the arithmetic on them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU: its name, memory in GiB, and whether it supports bfloat16."""

    name: str
    memory_gib: float
    bfloat16: bool


_may_use_gpu = True


def set_up_device(*, on_gpu: bool) -> None:
    """Set PyTorch up for a stage that was planned for a GPU, or for the CPU of the same process."""
    global _may_use_gpu
    _may_use_gpu = on_gpu
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")  # "high" is TF32
    # On Hopper cuDNN plans some 30 ms for every new shape, and each decoding step has one.
    torch.backends.cuda.enable_cudnn_sdp(not on_gpu)


def select_device() -> torch.device:
    """Return the GPU if there is one and the stage was planned for it; otherwise the CPU."""
    if _may_use_gpu and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def count_free_bytes() -> int:
    """Return the bytes of the GPU that this process may still fill, rounded down to a power of two.

    Batches sized by it then rarely depend on what other processes hold.
    """
    free, total = torch.cuda.mem_get_info()
    allocated = torch.cuda.memory_allocated()
    reusable = torch.cuda.memory_reserved() - allocated
    fraction = torch.cuda.get_per_process_memory_fraction()
    return round_down(min(free + reusable, int(total * fraction) - allocated))


def round_down(number: int) -> int:
    """Round down to a power of two, at least 1."""
    return 1 << max(number.bit_length() - 1, 0)


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[object]:
    """Compute matrix products in bfloat16, if that is the dtype, whatever the weights are in.

    One block per forward pass: within it each rounded weight is cached.
    """
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


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
