"""What a worker does with one unit: its stages one after another, each sealed as it ends.

Only keys and plain values come in, and an `Outcome` goes out: failures are returned, never raised
through the executor, so that both executors tell the same story.
"""

from __future__ import annotations

import importlib
import os
import platform
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from filelock import Timeout

from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.plan.config import Config
from bench.plan.graph import Unit
from bench.runner import memory
from bench.runner.resources import Share
from bench.runner.run_directory import Say, events_path, sees, signs_of_life
from bench.runner.store import Store

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
    """One stage as plain values; inputs by argument name as (kind, key), code by its parts."""

    kind: str
    key: str
    args: Mapping[str, Plain]
    inputs: Mapping[str, tuple[str, str]]
    config: Config | None = None
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One unit of work as plain values: all that travels to a worker.

    Attributes:
        live: Folder of the run (`bench.runner.run_directory`). A run whose units have one polls for
            stages that another run is making; without one a unit waits for them, and shows nothing.
        about: What the unit is, in words.
        attempt: Number of this try, from 1.
    """

    unit: str
    stages: tuple[StageOrder, ...]
    threads: int
    store: str
    data_dir: str | None = None
    model_path: str | None = None
    offline: bool = False
    gpus: float = 0.0
    memory_mib: float = 0.0
    micro_batch_divisor: int = 1
    live: str = ""
    about: str = ""
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a unit.

    Attributes:
        ran: Keys of the stages that this worker made; the others were in the store already.
        failure: None where all went well.
        stage: Kind of the stage that failed.
        message: One sentence for the user.
        trace: The traceback, where the failure is not the user's mistake.
        elsewhere: Key of a stage that another run is making: the unit is to be tried again when
            that has ended; this is no failure.
    """

    unit: str
    ran: tuple[str, ...] = ()
    failure: Failure | None = None
    stage: str = ""
    message: str = ""
    trace: str = ""
    elsewhere: str = ""


def order(
    unit: Unit,
    *,
    store: Path,
    data_dir: Path | None,
    offline: bool,
    divisor: int,
    model_path: Path | None = None,
    share: Share | None = None,
    live: Path | None = None,
    about: str = "",
    attempt: int = 1,
) -> Order:
    """Write a unit down as plain values; `share` is what it asks of a node, if not the cards'."""
    asked = share or Share(threads=unit.threads, gpus=unit.gpus)
    return Order(
        unit=unit.id,
        stages=tuple(
            StageOrder(
                kind=stage.kind,
                key=stage.key,
                args=stage.args,
                config=stage.config,
                inputs={name: (given.kind, given.key) for name, given in stage.inputs.items()},
                code=stage.code,
            )
            for stage in unit.stages
        ),
        threads=asked.threads,
        store=str(store),
        data_dir=None if data_dir is None else str(data_dir.absolute()),
        model_path=None if model_path is None else str(model_path.absolute()),
        offline=offline,
        gpus=asked.gpus,
        memory_mib=asked.memory_mib,
        micro_batch_divisor=divisor,
        live="" if live is None else str(live),
        about=about,
        attempt=attempt,
    )


def work(given: Order) -> Outcome:
    """Do a unit's stages that are not in the store, and say how it went."""
    if given.live and not sees(Path(given.live)):
        message = (
            f"The node {platform.node()} does not see the store {given.store}. Store and results "
            "must lie on a file system that all nodes share, under one path."
        )
        return Outcome(unit=given.unit, failure="error", message=message)
    words = {"about": given.about, "attempt": given.attempt}
    with signs_of_life(given.live, given.unit, **words) as say:
        return _work(given, Store(Path(given.store)), say)


def has_begun(given: Order) -> bool:
    """Tell whether a worker is at it; an order may wait for its node."""
    return not given.live or events_path(Path(given.live), given.unit).is_file()


def _work(given: Order, store: Store, say: Say) -> Outcome:
    if given.offline:
        # Read when huggingface_hub is imported, as only stages do; the others heed it.
        os.environ["HF_HUB_OFFLINE"] = "1"
    ran: list[str] = []
    for stage in given.stages:
        try:
            became = _seal(stage, given, store, say)
            if became == "ended":
                ran.append(stage.key)
            elif became == "elsewhere":
                return Outcome(unit=given.unit, ran=tuple(ran), elsewhere=stage.key)
        except BenchError as error:
            message = f"{error.message} {error.hint}".strip()
            return _failed(given, ran, stage, "error", message)
        except TimeoutError as error:
            return _failed(given, ran, stage, "timeout", str(error))
        except Exception as error:  # whatever a stage raises is this cell's failure, not the run's
            full = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
            failure: Failure = "out of memory" if full else "error"
            message = f"{type(error).__name__}: {error}"
            return _failed(given, ran, stage, failure, message, traceback.format_exc())
    return Outcome(unit=given.unit, ran=tuple(ran))


def _seal(
    stage: StageOrder, given: Order, store: Store, say: Say
) -> Literal["ended", "reused", "elsewhere"]:
    """Make a stage's artifact, unless it is there or another run is making it."""
    try:
        held = store.lock(stage.kind, stage.key).acquire(timeout=0 if given.live else -1)
    except Timeout:
        say("elsewhere", stage=stage.kind, key=stage.key)
        return "elsewhere"
    with held:
        if store.has(stage.kind, stage.key):
            say("reused", stage=stage.kind, key=stage.key)
            return "reused"
        say("started", stage=stage.kind, key=stage.key)
        seconds = _make(stage, given, store)
        say("ended", stage=stage.kind, key=stage.key, seconds=seconds)
        return "ended"


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


def _make(stage: StageOrder, given: Order, store: Store) -> float:
    """Make a stage's artifact; return its seconds."""
    began = time.perf_counter()
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
        memory.forget_peaks()
        memory.keep_to_share(given.gpus)
        started = time.perf_counter()
        if stage.config is None:
            module.run(job, **stage.args, **inputs)
        else:
            module.run(job, stage.config, inputs)
        seconds = round(time.perf_counter() - started, 6)
        meta: dict[str, Plain] = {
            "args": stage.args,
            "inputs": {name: key for name, (_, key) in stage.inputs.items()},
            "seconds": seconds,
            "loading_seconds": round(started - began, 6),
            "code": stage.code,
            "peak_memory_mib": round(memory.peak_mib(), 1),
            **memory.gpu_peak(),
            "micro_batch_divisor": given.micro_batch_divisor,
            "facts": job.facts,
            "provenance": dict(provenance()),
        }
        store.commit(stage.kind, stage.key, folder, meta)
    return seconds


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
