"""What a unit requests of a node: CPUs, a fraction of a GPU, memory.

CPUs are its threads, which affect floating-point sums and so never change. GPU fraction and memory
are the measured peaks of stored artifacts of the same configuration, seeds aside. Without them the
GPU fraction is the model card's, and no memory is requested.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.plan.graph import Graph, Unit
from bench.runner.similarity import StageHistory
from bench.runner.store import Store

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

    def __init__(self, store: Store, graph: Graph) -> None:
        self._history = StageHistory([store], graph)
        self._memory_mib: dict[int, float] = defaultdict(float)  # by configuration
        self._gpus: dict[int, float] = {}
        for key, meta in self._history.metas.items():
            number = self._history.number_configuration(key)
            self._memory_mib[number] = max(self._memory_mib[number], meta["peak_memory_mib"])
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


def _gpu_fraction(meta: Mapping[str, Any]) -> float:
    """Return the fraction of its GPU that a stage needed, rounded up to hundredths."""
    needed_mib = GPU_MEMORY_MARGIN * meta["peak_gpu_memory_mib"] + CUDA_CONTEXT_MIB
    fraction: float = math.ceil(100 * needed_mib / meta["gpu_memory_mib"]) / 100
    return min(1.0, max(1 / MAX_TASKS_PER_GPU, fraction))
