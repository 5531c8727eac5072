"""What a worker does with one unit: its stages one after another, each sealed as it ends.

Only keys and plain values come in, and an `Outcome` goes out: failures are returned, never raised
through the executor, so that both executors tell the same story.
"""

from __future__ import annotations

import importlib
import os
import platform
import resource
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from bench.errors import BenchError
from bench.graph import Unit
from bench.records import Job, Plain
from bench.store import Store

Failure: TypeAlias = Literal["error", "worker died", "out of memory", "timeout"]

RECORDED_VERSIONS = (
    "llmrec-bench",
    "numpy",
    "pyarrow",
    "ray",
    "torch",
    "transformers",
    "trl",
    "peft",
)


@dataclass(frozen=True, kw_only=True)
class StageOrder:
    """One stage as plain values; inputs by argument name as (kind, key)."""

    kind: str
    key: str
    args: Mapping[str, Plain]
    inputs: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """One unit of work as plain values: all that travels to a worker."""

    unit: str
    stages: tuple[StageOrder, ...]
    threads: int
    store: str
    data_dir: str | None = None
    model_path: str | None = None
    offline: bool = False
    gpus: float = 0.0
    micro_batch_divisor: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a unit.

    Attributes:
        ran: Keys of the stages that this worker made; the others were in the store already.
        failure: None where all went well.
        stage: Kind of the stage that failed.
        message: One sentence for the user.
        trace: The traceback, where the failure is not the user's mistake.
    """

    unit: str
    ran: tuple[str, ...] = ()
    failure: Failure | None = None
    stage: str = ""
    message: str = ""
    trace: str = ""


def order(
    unit: Unit,
    *,
    store: Path,
    data_dir: Path | None,
    offline: bool,
    divisor: int,
    model_path: Path | None = None,
) -> Order:
    """Write a unit down as plain values."""
    return Order(
        unit=unit.id,
        stages=tuple(
            StageOrder(
                kind=stage.kind,
                key=stage.key,
                args=stage.args,
                inputs={name: (given.kind, given.key) for name, given in stage.inputs.items()},
            )
            for stage in unit.stages
        ),
        threads=unit.threads,
        store=str(store),
        data_dir=None if data_dir is None else str(data_dir.absolute()),
        model_path=None if model_path is None else str(model_path.absolute()),
        offline=offline,
        gpus=unit.gpus,
        micro_batch_divisor=divisor,
    )


def work(given: Order) -> Outcome:
    """Do a unit's stages that are not in the store, and say how it went."""
    store = Store(Path(given.store))
    ran: list[str] = []
    for stage in given.stages:
        try:
            with store.lock(stage.kind, stage.key):
                if not store.has(stage.kind, stage.key):
                    _make(stage, given, store)
                    ran.append(stage.key)
        except BenchError as error:
            message = f"{error.message} {error.hint}".strip()
            return _failed(given, ran, stage, "error", message)
        except TimeoutError as error:
            return _failed(given, ran, stage, "timeout", str(error))
        except Exception as error:  # whatever a stage raises is this cell's failure, not the run's
            memory = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
            failure: Failure = "out of memory" if memory else "error"
            message = f"{type(error).__name__}: {error}"
            return _failed(given, ran, stage, failure, message, traceback.format_exc())
    return Outcome(unit=given.unit, ran=tuple(ran))


def _failed(
    given: Order, ran: list[str], stage: StageOrder, failure: Failure, message: str, trace: str = ""
) -> Outcome:
    return Outcome(
        unit=given.unit,
        ran=tuple(ran),
        failure=failure,
        stage=stage.kind,
        message=message,
        trace=trace,
    )


def _make(stage: StageOrder, given: Order, store: Store) -> None:
    module = importlib.import_module(f"bench.stages.{stage.kind}")
    inputs = {name: store.open(kind, key) for name, (kind, key) in stage.inputs.items()}
    with store.building(stage.kind, stage.key) as folder:
        job = Job(
            out=folder,
            data_dir=None if given.data_dir is None else Path(given.data_dir),
            model_path=None if given.model_path is None else Path(given.model_path),
            offline=given.offline,
            micro_batch_divisor=given.micro_batch_divisor,
        )
        started = time.perf_counter()
        module.run(job, **stage.args, **inputs)
        seconds = time.perf_counter() - started
        meta: dict[str, Plain] = {
            "args": stage.args,
            "inputs": {name: key for name, (_, key) in stage.inputs.items()},
            "seconds": round(seconds, 6),
            "peak_memory_mib": round(peak_memory_mib(), 1),
            "micro_batch_divisor": given.micro_batch_divisor,
            "facts": job.facts,
            "provenance": dict(provenance()),
        }
        store.commit(stage.kind, stage.key, folder, meta)


def peak_memory_mib() -> float:
    """Return this process's peak resident memory so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if platform.system() == "Darwin" else peak / 2**10


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Describe code, libraries and machine by an allow-list; nothing of the environment leaks."""
    versions = {}
    for name in RECORDED_VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        **versions,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "cpus": str(os.cpu_count()),
    }
