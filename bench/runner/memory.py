"""What a stage takes of memory: measured, and kept to its share of a GPU.

PyTorch is looked at only where the stage's module has imported it.
"""

from __future__ import annotations

import contextlib
import platform
import resource
import sys
from pathlib import Path
from typing import Any

from bench.hashing import Plain


def forget_peaks() -> None:
    """Begin to measure anew: a worker does one stage after another."""
    # Elsewhere than on Linux the peak stays that of the process so far.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def peak_mib() -> float:
    """Return this process's peak resident memory, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if platform.system() == "Darwin" else peak / 2**10


def gpu_peak() -> dict[str, Plain]:
    """Return what PyTorch took of the GPU at most, and what the GPU has, in MiB; or nothing."""
    if not (cuda := _cuda()):
        return {}
    return {
        "peak_gpu_memory_mib": round(cuda.max_memory_reserved() / 2**20, 1),
        "gpu_memory_mib": round(cuda.get_device_properties(0).total_memory / 2**20, 1),
    }


def keep_to_share(gpus: float) -> None:
    """Let a stage that shares a GPU run out of its own share, not of its neighbors'."""
    torch: Any = sys.modules.get("torch")
    if 0 < gpus < 1 and torch is not None and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)


def _cuda() -> Any:
    """Return `torch.cuda` where this process computes on a GPU."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
