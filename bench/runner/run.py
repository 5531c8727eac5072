"""The loop: submit what is ready, take what ends, decide about failures, write results.

Resume is the same loop: what the store holds is not submitted. A run with nothing missing starts no
executor at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from bench.graph import Unit, build, missing, units
from bench.results import Attempt, write_whole
from bench.runner.executors import Executor
from bench.runner.policy import next_divisor
from bench.runner.progress import RunProgress
from bench.runner.records import record_failure, record_success
from bench.runner.work import Outcome, order
from bench.store import BUILDING, Store
from bench.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        ok: Ids of the trials that ended well.
        failed: Ids of the trials that failed, each with the reason.
        skipped: Ids of the trials that could not start, each with the reason.
        stages_run: Distinct stages made now.
        stages_reused: Distinct stages that did not have to run, or that another driver, or a worker
            of a killed one, made meanwhile.
        seconds: Wall time.
        interrupted: Whether Ctrl-C ended it.
    """

    ok: tuple[str, ...]
    failed: dict[str, str]
    skipped: dict[str, str]
    stages_run: int
    stages_reused: int
    seconds: float
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 all fine, 1 some cell failed or was skipped, 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.failed or self.skipped else 0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where a run reads and writes.

    Attributes:
        store: Where artefacts lie.
        results: Folder of the results.
        data_dir: Folder of the user's own raw files.
        model_path: The user's own folder of the backbone.
        offline: Never touch the network.
        quiet: Show no progress.
    """

    store: Store
    results: Path
    data_dir: Path | None = None
    model_path: Path | None = None
    offline: bool = False
    quiet: bool = False


def run(trials: Sequence[Trial], *, options: Options, executor: Callable[[], Executor]) -> Summary:
    """Run what is missing for the trials and write their results.

    Args:
        trials: Planned trials; one with a `problem` is recorded as skipped.
        options: Where to read and write.
        executor: Makes the executor; called only if something must run.
    """
    started = time.monotonic()
    grid = _Grid(trials, options)
    if grid.waiting:
        _clear_unfinished(options.store)
        with RunProgress(grid.num_missing, quiet=options.quiet) as progress:
            grid.work_off(executor(), progress)
    skipped = grid.record_rest()
    return Summary(
        ok=tuple(sorted(grid.recorded)),
        failed=grid.failed,
        skipped=skipped,
        stages_run=len(grid.ran),
        stages_reused=len(grid.graph.stages.keys() - grid.unfinished - grid.ran),
        seconds=round(time.monotonic() - started, 3),
        interrupted=grid.interrupted,
    )


@dataclass
class _Grid:
    """The state of one run."""

    trials: Sequence[Trial]
    options: Options
    running: dict[str, Unit] = field(default_factory=dict)
    divisors: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)  # by unit
    broken: dict[str, str] = field(default_factory=dict)  # unit -> why it was given up
    ran: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.planned = {trial.id: trial for trial in self.trials if not trial.problem}
        self.graph = build(self.planned.values())
        store = self.options.store
        keys = missing(self.graph, lambda stage: store.has(stage.kind, stage.key))
        self.num_missing = len(keys)
        self.waiting = units(self.graph, keys)
        self.units = {unit.id: unit for unit in self.waiting}
        self.unfinished = set(keys)
        self._record_finished(self.planned)

    def work_off(self, executor: Executor, progress: RunProgress) -> None:
        """Run all units that can run; Ctrl-C stops early, a second one at once."""
        try:
            while self._submit_ready(executor) or self.running:
                for outcome in executor.wait():
                    self._take(outcome, progress)
        except KeyboardInterrupt:
            self.interrupted = True
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
            progress.note("Stopping; what has ended is being recorded. Ctrl-C again stops at once.")
            for outcome in executor.interrupt():
                self._take(outcome, progress)
        finally:
            executor.close()

    def _submit_ready(self, executor: Executor) -> bool:
        submitted = False
        for unit in list(self.waiting):
            if not executor.has_room(1):
                break
            if unit.parents & self.unfinished or not executor.has_room(unit.threads, unit.gpus):
                continue
            self.waiting.remove(unit)
            self.running[unit.id] = unit
            given = order(
                unit,
                store=self.options.store.root,
                data_dir=self.options.data_dir,
                model_path=self.options.model_path,
                offline=self.options.offline,
                divisor=self.divisors.get(unit.id, 1),
            )
            executor.submit(given)
            submitted = True
        return submitted

    def _take(self, outcome: Outcome, progress: RunProgress) -> None:
        unit = self.running.pop(outcome.unit)
        self.ran |= set(outcome.ran) or self._sealed(unit, outcome)
        if outcome.failure is None:
            self.unfinished -= {stage.key for stage in unit.stages}
            progress.stages(len(unit.stages), _describe(unit))
            self._record_finished(unit.trials)
            return
        divisor = self.divisors.get(unit.id, 1)
        history = self.attempts.setdefault(unit.id, [])
        history.append(
            Attempt(
                failure=outcome.failure,
                message=outcome.message,
                stage=outcome.stage,
                micro_batch_divisor=divisor,
            )
        )
        divisor_then = next_divisor([attempt.failure for attempt in history], divisor)
        where = f"{_describe(unit)}: {outcome.failure}: {outcome.message}"
        if divisor_then is not None:
            self.divisors[unit.id] = divisor_then
            self.waiting.append(unit)
            progress.note(f"{where} Trying again (micro-batch divisor {divisor_then}).")
            return
        if outcome.trace:
            path = self.options.store.root / ".failures" / f"{unit.id}.txt"
            write_whole(path, outcome.trace.encode())
            where = f"{where} (traceback in {path})"
        progress.note(where)
        self.broken[unit.id] = f"{outcome.stage or 'the unit'}: {outcome.message}"
        self._give_up(unit)

    def _sealed(self, unit: Unit, outcome: Outcome) -> set[str]:
        """Return what a worker had sealed before it was lost; it could not say so itself."""
        if outcome.failure not in ("worker died", "timeout"):
            return set()
        store = self.options.store
        return {stage.key for stage in unit.stages if store.has(stage.kind, stage.key)}

    def _give_up(self, unit: Unit) -> None:
        """Fail the trials whose own evaluation was in the unit; those behind it are skipped."""
        lost = {stage.key for stage in unit.stages}
        for name in unit.trials:
            trial = self.planned[name]
            if any(stage.key in lost for stage in trial.evaluations.values()):
                self.failed[name] = self.broken[unit.id]
                record_failure(
                    trial,
                    status="failed",
                    reason=self.broken[unit.id],
                    results=self.options.results,
                    attempts=self._attempts(name),
                )

    def _record_finished(self, names: Sequence[str] | frozenset[str] | dict[str, Trial]) -> None:
        for name in sorted(names):
            trial = self.planned[name]
            if any(stage.key in self.unfinished for stage in trial.evaluations.values()):
                continue
            record_success(
                trial,
                self.graph,
                store=self.options.store,
                results=self.options.results,
                attempts=self._attempts(name),
            )
            self.recorded.add(name)

    def _attempts(self, name: str) -> list[Attempt]:
        return [
            attempt
            for unit, history in self.attempts.items()
            if name in self.units[unit].trials
            for attempt in history
        ]

    def record_rest(self) -> dict[str, str]:
        """Record the trials that could not start as skipped; return them with their reasons."""
        skipped = {trial.id: trial.problem for trial in self.trials if trial.problem}
        for name in self.planned.keys() - self.recorded - self.failed.keys():
            behind = [why for unit, why in self.broken.items() if name in self.units[unit].trials]
            if behind:
                skipped[name] = f"needs a stage that failed: {behind[0]}"
            else:
                assert self.interrupted, "a trial was neither recorded, failed nor skipped"
        by_id = {trial.id: trial for trial in self.trials}
        for name, reason in sorted(skipped.items()):
            record_failure(
                by_id[name],
                status="skipped",
                reason=reason,
                results=self.options.results,
                attempts=[] if by_id[name].problem else self._attempts(name),
            )
        return dict(sorted(skipped.items()))


def _describe(unit: Unit) -> str:
    """Name a unit by its kinds and by the trial it belongs to, or how many share it."""
    kinds = " → ".join(dict.fromkeys(stage.kind for stage in unit.stages))
    names = sorted(unit.trials)
    return f"{names[0]} ({kinds})" if len(names) == 1 else f"{kinds}, for {len(names)} trials"


def _clear_unfinished(store: Store) -> None:
    """Remove what killed workers left half-built; what somebody is building now is locked."""
    for folder in (store.root / BUILDING).glob("*-*-*"):
        kind, key, _ = folder.name.rsplit("-", 2)
        try:
            with store.lock(kind, key).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue
