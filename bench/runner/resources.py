"""What a unit asks of a node: CPUs, a share of a GPU, memory.

CPUs are its threads, which decide sums and so never change. GPU share and memory are what the same
work took before, where the store has it: the same stages with other seeds, over the same inputs.
Else the GPU share is the model card's, and no memory is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.hashing import Plain, digest
from bench.plan import Stage
from bench.plan.graph import Unit
from bench.runner.store import Store

CONTEXT_MIB = 600.0  # what CUDA itself takes of a GPU, for every process
SPARE = 1.1
MOST_PER_GPU = 8  # trials of one GPU; more slow one another down


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What work of one kind took at most: resident MiB, and its share of a GPU where it had one."""

    memory_mib: float
    gpus: float | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a unit asks of a node."""

    threads: int
    gpus: float = 0.0
    memory_mib: float = 0.0


class Shares:
    """Knows what units ask for, by what a store's artifacts took.

    Args:
        store: Where earlier artifacts lie.
    """

    def __init__(self, store: Store) -> None:
        metas = {meta["key"]: meta for meta in store.entries()}
        self._names: dict[str, str] = {}  # by key
        self._peaks: dict[str, Peaks] = {}  # by name
        for key, meta in metas.items():
            name = self._name_of_artifact(key, metas)
            known = self._peaks.get(name, Peaks(memory_mib=0.0, gpus=None))
            gpus = [one for one in (known.gpus, _gpu_share(meta)) if one is not None]
            self._peaks[name] = Peaks(
                memory_mib=max(known.memory_mib, meta["peak_memory_mib"]),
                gpus=max(gpus, default=None),
            )

    def of(self, unit: Unit) -> Share:
        """Return what a unit asks for: what its stages took before, else what the cards say."""
        if not self._peaks:
            return Share(threads=unit.threads, gpus=unit.gpus)
        peaks = [self._peaks.get(self._name_of(stage)) for stage in unit.stages]
        gpus = [
            one.gpus if stage.gpus and one is not None and one.gpus is not None else stage.gpus
            for stage, one in zip(unit.stages, peaks, strict=True)
        ]
        return Share(
            threads=unit.threads,
            gpus=max(gpus),
            memory_mib=max(one.memory_mib if one else 0.0 for one in peaks),
        )

    def _name_of(self, stage: Stage) -> str:
        if stage.key not in self._names:
            inputs = {name: self._name_of(given) for name, given in stage.inputs.items()}
            self._names[stage.key] = _name(stage.kind, stage.args, inputs)
        return self._names[stage.key]

    def _name_of_artifact(self, key: str, metas: Mapping[str, Any]) -> str:
        if key not in metas:  # removed since: what was made of it is like nothing else
            return key
        if key not in self._names:
            meta = metas[key]
            inputs = {
                name: self._name_of_artifact(given, metas) for name, given in meta["inputs"].items()
            }
            self._names[key] = _name(meta["kind"], meta["args"], inputs)
        return self._names[key]


def _name(kind: str, args: Mapping[str, Plain], inputs: Mapping[str, str]) -> str:
    return digest([kind, _without_seeds(args), inputs])


def _without_seeds(value: Plain) -> Plain:
    if isinstance(value, Mapping):
        return {name: _without_seeds(one) for name, one in value.items() if name != "seed"}
    return value


def _gpu_share(meta: Mapping[str, Any]) -> float | None:
    """Return the share of its GPU that a stage would have got by with, in hundredths."""
    if "peak_gpu_memory_mib" not in meta:
        return None
    share: float = (SPARE * meta["peak_gpu_memory_mib"] + CONTEXT_MIB) / meta["gpu_memory_mib"]
    return min(1.0, max(1 / MOST_PER_GPU, math.ceil(100 * share) / 100))
