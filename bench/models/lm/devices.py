"""The GPUs and threads that PyTorch can use on this machine, and the arithmetic on them.

Threads are part of a stage's key, since sums depend on their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import BenchError
from bench.plan.device import planned_device

PROBE_SIZES = {"cpu": (1024, 2**24), "cuda": (4096, 2**28)}
"""Rows of the square matrices, and numbers that are copied."""
PROBE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU: its name, memory in GiB, and whether it supports bfloat16."""

    name: str
    memory_gib: float
    bfloat16: bool


def set_up_device(*, on_gpu: bool) -> None:
    """Set PyTorch's arithmetic up for a stage on a GPU, or on the CPU of the same process."""
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")  # "high" is TF32
    # On Hopper cuDNN plans some 30 ms for every new shape, and each decoding step has one.
    torch.backends.cuda.enable_cudnn_sdp(not on_gpu)


def select_device() -> torch.device:
    """Return the GPU if there is one and the stage was planned for it; otherwise the CPU."""
    if planned_device() == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def to_device(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """Copy host values to a device without waiting for it; on a CPU nothing is copied."""
    tensor = torch.as_tensor(values)
    if device.type == "cpu":
        return tensor
    # A copy from memory that is not pinned may wait until all queued work is done.
    return tensor.pin_memory().to(device, non_blocking=True)


def fork_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Restore the random states of the CPU, and of the device, after the block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random generators of the CPU and the device.

    `torch.manual_seed` would also reseed every other GPU, which `fork_random_state` leaves alone.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


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


def time_device(device: str) -> tuple[str, float, float]:
    """Time matrix products (float32 on CPUs, bfloat16 on GPUs) and copies, a second each.

    Returns:
        The device's name, operations per second, and bytes read and written per second.
    """
    size, length = PROBE_SIZES[device]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(length, device=device)
    target = torch.empty_like(source)
    products = _time(lambda: torch.mm(first, second), device)
    copies = _time(lambda: target.copy_(source), device)
    is_cuda = device == "cuda"
    name = torch.cuda.get_device_name() if is_cuda else f"{torch.get_num_threads()} threads"
    return name, 2 * size**3 / products, 2 * length * source.element_size() / copies


def _time(work: Callable[[], object], device: str) -> float:
    """Return the seconds of one call, over at least `PROBE_SECONDS`, after a first one."""

    def call() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < PROBE_SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls
