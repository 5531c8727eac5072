"""What a unit requests of a node: CPUs, a fraction of a GPU, memory.

CPUs are its threads, which affect floating-point sums and so never change. GPU fraction and memory
are the measured peaks of stored artifacts of the same configuration, seeds aside. Without them the
GPU fraction is the model card's, and no memory is requested.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.plan.graph import Unit
from bench.runner.stage_history import StageHistory

CUDA_CONTEXT_MIB = 600.0  # per process
GPU_MEMORY_MARGIN = 1.1
MAX_TASKS_PER_GPU = 8  # more slow each other down


@dataclass(frozen=True, kw_only=True)
class ResourceRequest:
    """What a task occupies; `gpus` may be a fraction."""

    threads: int
    gpus: float = 0.0
    memory_mib: float = 0.0


class ResourceEstimator:
    """Derives requests from the measured peaks of a store's artifacts."""

    def __init__(self, history: StageHistory) -> None:
        self._history = history
        self._memory_mib: dict[int, float] = defaultdict(float)  # by configuration
        self._gpus: dict[int, float] = {}
        self._divisors: dict[int, int] = defaultdict(lambda: 1)
        for key, meta in history.metas.items():
            number = self._history.number_configuration(key)
            self._memory_mib[number] = max(self._memory_mib[number], meta["peak_memory_mib"])
            divisor = meta.get("micro_batch_divisor", 1)
            self._divisors[number] = max(self._divisors[number], divisor)
            if "peak_gpu_memory_mib" in meta:
                self._gpus[number] = max(self._gpus.get(number, 0.0), _gpu_fraction(meta))

    def estimate(self, unit: Unit) -> ResourceRequest:
        """Return the request of a unit: the largest of its stages'."""
        gpus, memory_mib = [], []
        for stage in unit.stages:
            number = self._history.number_configuration(stage.key)
            gpus.append(self._gpus.get(number, stage.gpus) if stage.gpus else 0.0)
            memory_mib.append(self._memory_mib.get(number, 0.0))
        return ResourceRequest(threads=unit.threads, gpus=max(gpus), memory_mib=max(memory_mib))

    def recall_divisor(self, unit: Unit) -> int:
        """Return the micro-batch divisor that stages of the same configurations needed."""
        numbers = [self._history.number_configuration(stage.key) for stage in unit.stages]
        return max(self._divisors[number] for number in numbers)


def count_cpus() -> int:
    """Return the CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def _gpu_fraction(meta: Mapping[str, Any]) -> float:
    """Return the fraction of its GPU that a stage needed, rounded up to 1/n, so that few occur.

    Rounded down to the ten-thousandths that Ray counts in, so that n of them fit.
    """
    needed_mib = GPU_MEMORY_MARGIN * meta["peak_gpu_memory_mib"] + CUDA_CONTEXT_MIB
    num_tasks = min(MAX_TASKS_PER_GPU, max(1, int(meta["gpu_memory_mib"] / needed_mib)))
    return math.floor(10_000 / num_tasks) / 10_000
