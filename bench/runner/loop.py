"""The run loop: submit units that can start, collect results, retry failures, obey requests.

Resuming is the same loop: what is in the store is not submitted. A run with nothing missing starts
no executor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from bench.config.scoped_cache import one_state
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan.graph import Unit
from bench.plan.stage import Stage
from bench.plan.trials import Trial
from bench.results.schema import Attempt
from bench.runner import run_directory
from bench.runner.cost_model import read_throughput
from bench.runner.estimate import Timings, forecast_run
from bench.runner.executors import Executor, ExecutorLostError
from bench.runner.resources import ResourceEstimator, ResourceRequest
from bench.runner.retry_policy import decide_retry
from bench.runner.run_progress import RunProgress
from bench.runner.signals import Stopped, exit_on_next_signal, stop_on_signals
from bench.runner.stage_history import StageHistory
from bench.runner.store import Store
from bench.runner.trial_status import TrialStatus
from bench.runner.worker import TaskResult, make_task

POLL_SECONDS = 0.5
"""Seconds between checks of other runs' locks and of cancel requests."""

FORECAST_SECONDS = 60.0
"""Seconds between forecasts of the remaining time."""

MAX_REPAIRS = 20
"""Times that a run starts over because artifacts were damaged; a chain of stages is shorter."""

MAX_IDLE_SECONDS = 600.0
"""A run ends if no node of its cluster could take a task for that long, and none is running."""

READS_RAW_FILES = ("prepare", "lists")
"""Kinds of stages that read a data set's raw files."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How a run ended.

    Attributes:
        skipped: Reasons by id of the trials that could not start.
        stages_reused: Distinct stages that did not have to run, or that another driver or a worker
            of a killed one computed meanwhile.
        stopped_by: Number of the signal that ended it, or 0; Ctrl-C and `bench cancel` are SIGINT.
        num_damaged: Stored artifacts that were found damaged and moved aside.
    """

    ok: tuple[str, ...]
    failed: dict[str, str]
    skipped: dict[str, str]
    stages_run: int
    stages_reused: int
    seconds: float
    stopped_by: int = 0
    num_damaged: int = 0

    @property
    def num_trials(self) -> int:
        """Number of trials of the run."""
        return len(self.ok) + len(self.failed) + len(self.skipped)

    @property
    def exit_code(self) -> int:
        """0 if all trials succeeded, 1 if one failed or was skipped, 128 + the signal's number."""
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failed or self.skipped else 0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run reads and writes.

    Attributes:
        time_limit: Maximum seconds per unit; None for limits from estimates.
        trackers: Environment variables of trackers that receive live training curves.
        on_result: Called with a trial's id when its result is written or up to date.
    """

    store: Store
    results: Path
    data_dir: Path | None = None
    model_paths: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False
    quiet: bool = False
    time_limit: float | None = None
    trackers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    on_result: Callable[[str], object] = str  # does nothing

    def make_job(self, micro_batch_divisor: int = 1) -> Job:
        """Return what stages receive; paths are absolute, since workers choose their own folder."""
        return Job(
            out=self.store.root,
            data_dir=self.data_dir and self.data_dir.absolute(),
            offline=self.offline,
            micro_batch_divisor=micro_batch_divisor,
        )


@one_state()
def run(
    trials: Sequence[Trial], *, options: RunOptions, executor: Callable[[], Executor]
) -> RunSummary:
    """Run what is missing for the trials and write their results.

    A trial with a `problem` is recorded as skipped. A damaged artifact is noticed when it is opened
    and moved aside; what needs it then runs again. No executor is made if no stage is missing.
    """
    summary = _run_missing(trials, options, executor)
    for _ in range(MAX_REPAIRS):
        if summary.stopped_by or not summary.num_damaged:
            break
        repaired = _run_missing(trials, options, executor)
        summary = dataclasses.replace(
            repaired,
            stages_run=summary.stages_run + repaired.stages_run,
            stages_reused=max(0, repaired.stages_reused - summary.stages_run),
            seconds=round(summary.seconds + repaired.seconds, 3),
        )
    return summary


def _run_missing(
    trials: Sequence[Trial], options: RunOptions, executor: Callable[[], Executor]
) -> RunSummary:
    started = time.monotonic()
    status = TrialStatus(trials, options.store, options.results, options.on_result)
    computed: set[str] = set()
    stopped_by, lost = 0, ""
    if status.units:
        run_directory.remove_stale(options.store)
        fetch_raw_files((status.graph.stages[key] for key in status.missing), options)
        unfinished = sorted(status.planned.keys() - status.recorded)
        with (
            run_directory.open_run_directory(
                options.store.root, options.results, unfinished
            ) as folder,
            RunProgress(len(status.missing), folder=folder, quiet=options.quiet) as progress,
        ):
            loop = _Loop(status, options, folder, progress)
            try:
                stopped_by = loop.run_units(executor())
            except ExecutorLostError as error:
                lost = f"{error.message} {error.hint}".strip()
                progress.print_line(lost)
            computed = loop.computed
    skipped = status.record_skipped(interrupted=stopped_by > 0, lost=lost)
    return RunSummary(
        ok=tuple(sorted(status.recorded)),
        failed=status.failed,
        skipped=skipped,
        stages_run=len(computed),
        stages_reused=len(status.graph.stages.keys() - status.unfinished - computed),
        seconds=round(time.monotonic() - started, 3),
        stopped_by=stopped_by,
        num_damaged=status.num_damaged,
    )


def fetch_raw_files(stages: Iterable[Stage], options: RunOptions) -> None:
    """Fetch raw files before workers need them; an error is left to the stage to report."""
    for stage in stages:
        if stage.kind in READS_RAW_FILES and not options.store.has(stage.kind, stage.key):
            from bench.data.assets import fetch_raw

            args: dict[str, Any] = dict(stage.args)
            with contextlib.suppress(BenchError):
                fetch_raw(
                    args["name"],
                    args["checksums"],
                    data_dir=options.data_dir,
                    offline=options.offline,
                )


@dataclass
class _Loop:
    """Runs the units of one run."""

    status: TrialStatus
    options: RunOptions
    folder: Path
    progress: RunProgress
    running: dict[str, Unit] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)  # unit -> key that another run computes
    divisors: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)  # of a GPU, by unit
    computed: set[str] = field(default_factory=set)
    warm: list[str] = field(default_factory=list)  # backbones in slots that have become free
    polled: float = 0.0
    idle_since: float | None = None

    def __post_init__(self) -> None:
        # GPU units first: they take longest, and no GPU should wait for CPUs.
        self.waiting = sorted(self.status.units.values(), key=lambda unit: unit.gpus == 0)
        store, graph = self.options.store, self.status.graph
        device = "cuda" if any(stage.gpus for stage in graph.stages.values()) else "cpu"
        self.throughput = read_throughput(store.root, device)
        history = StageHistory([store], graph)
        timings = Timings(history, self.throughput)
        self.forecast(timings)
        self.resources = ResourceEstimator(history)
        self.limits = TimeLimits(timings, self.options.time_limit)
        self.progress.print_line(self.limits.describe(self.waiting))
        self.status.log_reused_stages()

    def forecast(self, timings: Timings) -> None:
        """Tell the display how long the rest takes, if every stage that decides it is known."""
        self.forecast_time = time.monotonic()
        rest = forecast_run([*self.waiting, *self.running.values()], timings)
        seconds = rest.work_seconds / max(1, len(self.running)) if rest.is_known else None
        self.progress.set_remaining(seconds)

    def run_units(self, executor: Executor) -> int:
        """Run all units that can run; return the number of the signal that ended it early, or 0.

        Raises:
            ExecutorLostError: What they ran on has died.
        """
        with stop_on_signals():  # which starting Ray has changed
            try:
                while self._submit_ready(executor):
                    if not self.running:
                        time.sleep(POLL_SECONDS)
                    for result in executor.wait() if self.running else ():
                        self._handle_result(result)
                    self._poll(executor)
            except KeyboardInterrupt as stop:
                exit_on_next_signal()
                self.progress.print_line(
                    "Stopping after recording what has ended. Press Ctrl-C again to stop at once."
                )
                for result in executor.close():
                    self._handle_result(result)
                for unit in self.running.values():
                    self._log_worker_events(unit, run_directory.make_event("interrupted"))
                return getattr(stop, "number", signal.SIGINT)
            finally:
                executor.close()
        return 0

    def _submit_ready(self, executor: Executor) -> bool:
        """Submit the units that can start; return whether there is anything to wait for."""
        ready = False
        for unit in sorted(self.waiting, key=lambda unit: unit.backbone not in self.warm):
            if not executor.has_capacity(ResourceRequest(threads=1)):
                ready = True
                break
            if unit.parents & self.status.unfinished or unit.id in self.blocked:
                continue
            request = self.resources.estimate(unit)
            gpus = self.shares.setdefault(unit.id, request.gpus)
            request = dataclasses.replace(request, gpus=gpus)
            if not executor.has_capacity(request):
                ready = True
                continue
            self._submit(unit, request, executor)
        if ready and not self.running:
            self._await_capacity()
        else:
            self.idle_since = None
        return bool(ready or self.running or self.blocked)

    def _await_capacity(self) -> None:
        now = time.monotonic()
        if self.idle_since is None:
            self.idle_since = now
            self.progress.print_line("No cluster node has free capacity; waiting for one.")
        if now - self.idle_since > MAX_IDLE_SECONDS:
            raise ExecutorLostError(
                f"No node of the cluster could take a task for {MAX_IDLE_SECONDS:g} s.",
                "See `ray status`; repeat the command when nodes have joined.",
            )

    def _submit(self, unit: Unit, request: ResourceRequest, executor: Executor) -> None:
        self.waiting.remove(unit)
        self.running[unit.id] = unit
        with contextlib.suppress(ValueError):
            self.warm.remove(unit.backbone)
        task = make_task(
            unit,
            store=self.options.store.root,
            job=self.options.make_job(self._choose_divisor(unit)),
            resources=request,
            run_directory=self.folder,
            trackers=self.options.trackers,
            model_paths=self.options.model_paths,
            description=_describe(unit),
            attempt=len(self.status.attempts[unit.id]) + 1,
            time_limit=self.limits.limit(unit),
        )
        executor.submit(task)

    def _poll(self, executor: Executor) -> None:
        """Every `POLL_SECONDS`, check what other runs have finished, and cancel requests."""
        if time.monotonic() < self.polled + POLL_SECONDS:
            return
        self.polled = time.monotonic()
        self.blocked = {unit: key for unit, key in self.blocked.items() if self._is_locked(key)}
        requests = run_directory.read_cancel_requests(self.folder)
        if run_directory.ALL_TRIALS in requests:
            raise Stopped  # the same as Ctrl-C
        stopped = self.status.cancel_trials(requests)
        for unit in [*self.running.values(), *self.waiting] if stopped else ():
            if not self.status.is_needed(unit):
                self._cancel(unit, executor)
        run_directory.write_events(
            self.options.results, stopped, [run_directory.make_event("cancelled")]
        )

    def _is_locked(self, key: str) -> bool:
        kind = self.status.graph.stages[key].kind
        try:
            with self.options.store.lock(kind, key).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _cancel(self, unit: Unit, executor: Executor) -> None:
        if self.running.pop(unit.id, None):
            executor.cancel(unit.id)
            self.computed |= self._find_stored(unit)
            self._log_worker_events(unit)
        else:
            self.waiting.remove(unit)
            self.blocked.pop(unit.id, None)
        self.progress.print_line(f"{_describe(unit)}: cancelled.")

    def _handle_result(self, result: TaskResult) -> None:
        unit = self.running.pop(result.unit)
        if unit.backbone:
            self.warm.append(unit.backbone)
        self.computed |= set(result.computed)
        if result.waiting_for:
            self._log_worker_events(unit)
            self.blocked[unit.id] = result.waiting_for
            self.waiting.append(unit)
        elif result.failure is None:
            self._log_worker_events(unit)
            self.progress.add_stages(len(unit.stages), _describe(unit))
            self.status.finish_unit(unit)
        else:
            self._handle_failure(unit, result)
        if time.monotonic() > self.forecast_time + FORECAST_SECONDS:  # stages have been timed since
            history = StageHistory([self.options.store], self.status.graph)
            self.forecast(Timings(history, self.throughput))

    def _handle_failure(self, unit: Unit, result: TaskResult) -> None:
        assert result.failure is not None
        self.status.num_damaged += result.damaged_input
        if result.failure in ("worker died", "timeout", "out of memory"):
            self.computed |= self._find_stored(unit)  # the worker could not report them
        events = run_directory.read_events(run_directory.get_events_path(self.folder, unit.id))
        begun = [event["stage"] for event in events if event["event"] == "started"]
        stage = result.stage or (begun[-1] if begun else "")
        fields = {"failure": result.failure, "stage": stage, "error": result.message}
        self._log_worker_events(
            unit, run_directory.make_event("failed", **fields, trace=result.trace)
        )
        attempt = Attempt(
            failure=result.failure,
            message=result.message,
            stage=stage,
            micro_batch_divisor=self._choose_divisor(unit),
        )
        attempts = self.status.attempts[unit.id]
        attempts.append(attempt)
        message = f"{_describe(unit)}: {result.failure}: {result.message}"
        if (retry := decide_retry(attempts, self.shares[unit.id])) is not None:
            self.divisors[unit.id], self.shares[unit.id] = retry
            self.waiting.append(unit)
            gpus = f", {retry.gpu_share:g} of a GPU" if retry.gpu_share else ""
            self.progress.print_line(
                f"{message} Retrying (micro-batch divisor {retry.micro_batch_divisor}{gpus})."
            )
            return
        log = run_directory.get_log_path(self.options.results, min(unit.trials))
        self.progress.print_line(f"{message} (log: {log})")
        self.status.abandon_unit(unit, f"{stage or 'the unit'}: {result.message}")

    def _choose_divisor(self, unit: Unit) -> int:
        return self.divisors.get(unit.id) or self.resources.recall_divisor(unit)

    def _log_worker_events(self, unit: Unit, *more: run_directory.Event) -> None:
        """Move the events of a worker, and further ones about it, into the logs of its trials."""
        path = run_directory.get_events_path(self.folder, unit.id)
        first, *events = run_directory.read_events(path) or [run_directory.make_event("assigned")]
        path.unlink(missing_ok=True)
        attempt = len(self.status.attempts[unit.id]) + 1
        worker = {"host": first["host"], "pid": first["pid"], "attempt": attempt}
        events = [event | worker for event in (*events, *more)]
        run_directory.write_events(self.options.results, sorted(unit.trials), events)

    def _find_stored(self, unit: Unit) -> set[str]:
        store = self.options.store
        return {stage.key for stage in unit.stages if store.has(stage.kind, stage.key)}


def _describe(unit: Unit) -> str:
    """Name a unit by its kinds and by its trial, or by the number of trials that share it."""
    kinds = " → ".join(dict.fromkeys(stage.kind for stage in unit.stages))
    names = sorted(unit.trials)
    return f"{names[0]} ({kinds})" if len(names) == 1 else f"{kinds}, for {len(names)} trials"


MARGIN = 20.0
"""A unit may take that many times its estimate: on a slower machine, or on a shared GPU."""
MIN_HOURS = 1.0
UNKNOWN_HOURS = 48.0
"""For a unit with a stage that nothing is known about."""


class TimeLimits:
    """The limits of a run: the user's seconds for every unit, or, without any, from estimates."""

    def __init__(self, timings: Timings, seconds: float | None) -> None:
        self._timings, self._seconds = timings, seconds

    def limit(self, unit: Unit) -> float:
        """Return the maximum seconds of a unit."""
        if self._seconds is not None:
            return self._seconds
        estimates = [self._timings.estimate(stage) for stage in unit.stages]
        if any(basis == "never" for _, basis in estimates):
            return 3600.0 * UNKNOWN_HOURS
        return max(3600.0 * MIN_HOURS, MARGIN * sum(seconds for seconds, _ in estimates))

    def describe(self, units: Iterable[Unit]) -> str:
        """Say which limits the units have."""
        limits = sorted({self.limit(unit) for unit in units})
        if self._seconds is not None:
            return f"Time limit per unit of work: {self._seconds:g} s."
        hours = " to ".join(dict.fromkeys(f"{limits[i] / 3600:.3g} h" for i in (0, -1)))
        return (
            f"Time limit per unit of work: {hours} ({MARGIN:g} times its estimate, at least "
            f"{MIN_HOURS:g} h, {UNKNOWN_HOURS:g} h without an estimate). --time-limit sets another."
        )
