"""The worker: runs the stages of one unit in order and commits each to the store as it ends.

A `TaskSpec` comes in, a `TaskResult` goes out. Failures are returned, never raised
through the executor, so that both executors report them alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import Timeout

from bench.errors import BenchError, describe_exception, printable
from bench.foreign_code import unchanged_process_state
from bench.hashing import Job, Plain
from bench.models.progress import clear_progress
from bench.plan.config import to_plain
from bench.plan.device import Device, plan_for
from bench.plan.graph import Unit
from bench.plan.stage import Stage
from bench.results.trackers.live_curves import report_live_curves
from bench.runner.out_of_memory import is_out_of_memory
from bench.runner.resources import ResourceRequest
from bench.runner.run_directory import LogEvent, is_visible, send_heartbeats
from bench.runner.store import DamagedArtifactError, Store

Failure: TypeAlias = Literal["error", "worker died", "out of memory", "timeout"]

FRAMEWORKS = ("peft", "ray", "torch", "transformers", "trl")
MAX_TRACE = 20_000
"""Characters of a traceback that are kept."""
DRIVER = Path("/proc/driver/nvidia/version")
RECORDED_PACKAGES = ("llmrec-bench", "numpy", "pyarrow", *FRAMEWORKS)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One unit of work: all that is sent to a worker.

    Attributes:
        code: Hashes of the code of each stage by key and module.
        job: What stages receive; `out` is set for each.
        trackers: Environment variables of trackers that receive live training curves.
        run_directory: See `bench.runner.run_directory`. With one, a stage that another run is
            computing ends the task; without one the worker waits for that stage, and logs nothing.
        attempt: Number of this attempt, from 1.
        time_limit: Seconds that it may take; None for no limit.
        backbone: Key of the untuned backbone that its stages use; "" for none.
    """

    unit: str
    stages: tuple[Stage, ...]
    code: Mapping[str, Mapping[str, str]]
    resources: ResourceRequest
    store: Path
    job: Job
    trackers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    model_paths: Mapping[str, Path] = field(default_factory=dict)
    run_directory: Path | None = None
    description: str = ""
    attempt: int = 1
    time_limit: float | None = None
    backbone: str = ""

    def fail(self, failure: Failure, message: str) -> TaskResult:
        """Return the result of an attempt that its worker could not report."""
        return TaskResult(unit=self.unit, failure=failure, message=message)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a unit ended.

    Attributes:
        computed: Keys of the stages that this worker computed; the others were in the store.
        failure: None if the unit succeeded.
        message: One sentence for the user.
        trace: The traceback, unless the failure is the user's mistake.
        waiting_for: Key of a stage that another run is computing. The unit is to be submitted again
            when that ends; this is no failure.
        damaged_input: Whether it failed because an input was damaged, which is now moved aside.
    """

    unit: str
    computed: tuple[str, ...] = ()
    failure: Failure | None = None
    stage: str = ""
    message: str = ""
    trace: str = ""
    waiting_for: str = ""
    damaged_input: bool = False


def make_task(
    unit: Unit,
    *,
    store: Path,
    job: Job,
    resources: ResourceRequest | None = None,
    **fields: Any,
) -> TaskSpec:
    """Return the task of a unit; without `resources` it requests what its stages declare."""
    return TaskSpec(
        unit=unit.id,
        stages=unit.stages,
        code={stage.key: stage.code for stage in unit.stages},
        resources=resources or ResourceRequest(threads=unit.threads, gpus=unit.gpus),
        store=store,
        job=job,
        backbone=unit.backbone,
        **fields,
    )


def run_task(task: TaskSpec) -> TaskResult:
    """Compute the stages of a unit that are not in the store."""
    if task.run_directory is not None and not is_visible(task.run_directory):
        message = (
            f"The node {platform.node()} does not see the store {task.store}. Store and results "
            "must lie on a file system that all nodes share, under one path."
        )
        return TaskResult(unit=task.unit, failure="error", message=message)
    if task.job.offline:
        # Read when huggingface_hub is imported, which only stages do.
        os.environ["HF_HUB_OFFLINE"] = "1"
    store = Store(task.store)
    fields = {"description": task.description, "attempt": task.attempt}
    computed: list[str] = []
    with send_heartbeats(task.run_directory, task.unit, **fields) as log_event:
        for stage in task.stages:
            try:
                if not _run_stage(stage, task, store, log_event, computed):
                    return TaskResult(
                        unit=task.unit, computed=tuple(computed), waiting_for=stage.key
                    )
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a stage raises fails its trials, not the run
                failure, keys = _describe_failure(error), tuple(computed)
                return TaskResult(unit=task.unit, computed=keys, stage=stage.kind, **failure)
    return TaskResult(unit=task.unit, computed=tuple(computed))


def _describe_failure(error: BaseException) -> dict[str, Any]:
    """Return failure, message and, unless it is the user's mistake, trace of a `TaskResult`."""
    if isinstance(error, BenchError):
        message = printable(f"{error.message} {error.hint}".strip())
        damaged = isinstance(error, DamagedArtifactError)
        return {"failure": "error", "message": message, "damaged_input": damaged}
    if isinstance(error, TimeoutError):
        return {"failure": "timeout", "message": printable(error)}
    return {
        "failure": "out of memory" if is_out_of_memory(error) else "error",
        "message": describe_exception(error),
        "trace": printable(traceback.format_exc(), limit=MAX_TRACE),
    }


def _run_stage(
    stage: Stage, task: TaskSpec, store: Store, log_event: LogEvent, computed: list[str]
) -> bool:
    """Compute a stage unless it is stored; return False if another run is computing it."""
    names = {"stage": stage.kind, "key": stage.key}
    try:
        lock = store.lock(stage.kind, stage.key).acquire(timeout=0 if task.run_directory else -1)
    except Timeout:
        log_event("waiting", **names)
        return False
    with lock:
        if store.has(stage.kind, stage.key):
            log_event("reused", **names)
        else:
            log_event("started", **names)
            seconds = _compute_artifact(stage, task, store)
            log_event("ended", **names, seconds=seconds)
            computed.append(stage.key)
    return True


def _compute_artifact(stage: Stage, task: TaskSpec, store: Store) -> float:
    """Run a stage and commit what it wrote; return its seconds without loading."""
    loading_started = time.perf_counter()
    module = importlib.import_module(f"bench.stages.{stage.kind}")
    device: Device = "cuda" if stage.gpus else "cpu"
    if stage.gpus:
        _require_gpu(stage.kind)
    if "torch" in sys.modules:
        importlib.import_module("bench.models.lm.devices").set_up_device(on_gpu=stage.gpus > 0)
    inputs = {name: store.open(source.kind, source.key) for name, source in stage.inputs.items()}
    with store.building(stage.kind, stage.key) as folder:
        job = dataclasses.replace(
            task.job,
            out=folder,
            model_path=task.model_paths.get(getattr(stage.config, "name", "")),
            checkpoints=store.checkpoints(stage.kind, stage.key),
            metadata={},
        )
        _prepare_memory(task.resources.gpus)
        clear_progress()
        started = time.perf_counter()
        with (
            plan_for(device),
            report_live_curves(task.trackers, f"{stage.kind}-{stage.key[:8]}"),
            unchanged_process_state(f"The stage {stage.kind}"),
        ):
            module.run(job, stage.config, inputs)
        seconds = round(time.perf_counter() - started, 6)
        meta: dict[str, Plain] = {
            "args": to_plain(stage.config),
            "device": device,
            "inputs": {name: source.key for name, source in stage.inputs.items()},
            "seconds": seconds,
            "loading_seconds": round(started - loading_started, 6),
            "code": task.code[stage.key],
            **_measure_peak_memory(),
            "micro_batch_divisor": job.micro_batch_divisor,
            "metadata": job.metadata,
            "provenance": {
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                **describe_environment(),
                **describe_commit(),
                **describe_processors(on_gpu=stage.gpus > 0),
            },
        }
        store.commit(stage.kind, stage.key, folder, meta)
    return seconds


def _require_gpu(kind: str) -> None:
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise BenchError(
            f"The stage {kind} was planned for a GPU, and PyTorch finds none on {platform.node()}.",
            "Run `bench doctor` there. To compute on CPUs, set CUDA_VISIBLE_DEVICES to nothing.",
        )


def _prepare_memory(gpus: float) -> None:
    """Reset the peaks, and keep a stage within its fraction of the GPU's memory.

    PyTorch is used only if the stage's module has imported it.
    """
    with contextlib.suppress(OSError):  # only Linux can reset the peak of a process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    if gpus and torch is not None and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpus))


def _measure_peak_memory() -> dict[str, Plain]:
    """Return peak resident memory and, if PyTorch used a GPU, its peak and total, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    measured: dict[str, Plain] = {"peak_memory_mib": round(peak / unit, 1)}
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        total = torch.cuda.get_device_properties(0).total_memory
        measured["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_reserved() / 2**20, 1)
        measured["gpu_memory_mib"] = round(total / 2**20, 1)
    return measured


@lru_cache(maxsize=1)
def describe_environment() -> dict[str, str]:
    """Return versions and machine by an allow-list, so that no environment variable leaks."""
    versions = {}
    for name in RECORDED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        **versions,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "cpus": str(os.cpu_count()),
    }


@lru_cache(maxsize=1)
def describe_commit() -> dict[str, str]:
    """Return this checkout's commit, marked as dirty if files differ; {} outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return {}
    command = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        output = subprocess.run(command, capture_output=True, check=True, timeout=10, text=True)  # noqa: S603
        return {"commit": output.stdout.strip()}
    return {}


def describe_processors(*, on_gpu: bool) -> dict[str, str]:
    """Return the CPU's model and instruction set, and this process's GPU with its software."""
    described = {"cpu": _read_cpu_model()}
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        described["instruction_set"] = torch.backends.cpu.get_cpu_capability()
    if on_gpu:
        described |= {
            "gpu": torch.cuda.get_device_name(0),
            "cuda": torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()),
        }
        with contextlib.suppress(OSError, AttributeError):
            driver = re.search(r"  (\d+[.\d]+)  ", DRIVER.read_text(encoding="utf-8"))
            described["gpu_driver"] = driver.group(1)  # type: ignore[union-attr]
    return described


@lru_cache(maxsize=1)
def _read_cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def materialize_stage(
    stage: Stage,
    store: Store,
    *,
    data_dir: Path | None,
    offline: bool,
    model_paths: Mapping[str, Path] | None = None,
) -> Path:
    """Return the artifact of a stage, computed in this process if it is not stored.

    Raises:
        BenchError: The stage failed.
    """
    unit = Unit(stages=(stage,), parents=frozenset())
    job = Job(out=store.root, data_dir=data_dir, offline=offline)
    result = run_task(make_task(unit, store=store.root, job=job, model_paths=model_paths or {}))
    if result.failure is not None:
        raise BenchError(result.message)
    return store.open(stage.kind, stage.key)
