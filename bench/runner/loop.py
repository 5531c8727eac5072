"""The loop: submit what is ready, take what ends, decide about failures, heed what is asked.

Resume is the same loop: what the store holds is not submitted. A run with nothing missing starts no
executor at all. Trials and their results are the tally's (`bench.runner.trial_status`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from bench.config.scoped_cache import one_state
from bench.plan.graph import Unit
from bench.plan.trials import Trial
from bench.results.schema import Attempt
from bench.runner import run_directory
from bench.runner.executors import Executor
from bench.runner.logs import log_path, write_events
from bench.runner.progress import RunProgress
from bench.runner.resources import Shares
from bench.runner.retry_policy import next_divisor
from bench.runner.store import Store
from bench.runner.trial_status import Tally
from bench.runner.worker import Outcome, order

LOOK_EVERY = 0.5
"""Seconds between looks at what other runs are making, and for what is asked."""


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
        interrupted: Whether Ctrl-C or `bench cancel` ended it.
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
        store: Where artifacts lie.
        results: Folder of the results.
        data_dir: Folder of the user's own raw files.
        model_path: The user's own folder of the backbone.
        offline: Never touch the network.
        quiet: Show no progress.
        tell: Called with a trial's id when its result is there.
    """

    store: Store
    results: Path
    data_dir: Path | None = None
    model_path: Path | None = None
    offline: bool = False
    quiet: bool = False
    tell: Callable[[str], None] = lambda trial: None


@one_state()
def run(trials: Sequence[Trial], *, options: Options, executor: Callable[[], Executor]) -> Summary:
    """Run what is missing for the trials and write their results.

    Args:
        trials: Planned trials; one with a `problem` is recorded as skipped.
        options: Where to read and write.
        executor: Makes the executor; called only if something must run.
    """
    started = time.monotonic()
    tally = Tally(trials, options.store, options.results, options.tell)
    ran: set[str] = set()
    interrupted = False
    if tally.units:
        run_directory.clear_dead(options.store)
        unfinished = sorted(tally.planned.keys() - tally.recorded)
        with (
            run_directory.going_on(options.store.root, options.results, unfinished) as folder,
            RunProgress(len(tally.missing), quiet=options.quiet) as progress,
        ):
            loop = _Loop(tally, options, folder, progress)
            interrupted = loop.work_off(executor())
            ran = loop.ran
    skipped = tally.record_rest(interrupted=interrupted)
    return Summary(
        ok=tuple(sorted(tally.recorded)),
        failed=tally.failed,
        skipped=skipped,
        stages_run=len(ran),
        stages_reused=len(tally.graph.stages.keys() - tally.unfinished - ran),
        seconds=round(time.monotonic() - started, 3),
        interrupted=interrupted,
    )


@dataclass
class _Loop:
    """The units of one run, from waiting to ended."""

    tally: Tally
    options: Options
    folder: Path
    progress: RunProgress
    running: dict[str, Unit] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)  # unit -> key that another run makes
    divisors: dict[str, int] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    looked: float = 0.0
    told: bool = False

    def __post_init__(self) -> None:
        # Those for a GPU first: they take longest, and no GPU should wait for CPUs.
        self.waiting = sorted(self.tally.units.values(), key=lambda unit: unit.gpus == 0)
        self.shares = Shares(self.options.store)
        self.tally.log_reused()

    def work_off(self, executor: Executor) -> bool:
        """Run all units that can run; tell whether Ctrl-C or a request stopped it early."""
        try:
            while self._submit_ready(executor):
                if not self.running:
                    time.sleep(LOOK_EVERY)
                for outcome in executor.wait() if self.running else ():
                    self._take(outcome)
                self._look(executor)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
            self.progress.note(
                "Stopping; what has ended is being recorded. Ctrl-C again stops at once."
            )
            for outcome in executor.interrupt():
                self._take(outcome)
            for unit in self.running.values():
                self._log(unit, run_directory.event("interrupted"))
            return True
        finally:
            executor.close()
        return False

    def _submit_ready(self, executor: Executor) -> bool:
        """Submit what can start now; tell whether there is anything to wait for."""
        for unit in list(self.waiting):
            if not executor.has_room(1):
                self._tell_of_no_room()
                return True
            if unit.parents & self.tally.unfinished or unit.id in self.elsewhere:
                continue
            share = self.shares.of(unit)
            if not executor.has_room(share.threads, share.gpus, share.memory_mib):
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
                share=share,
                live=self.folder,
                about=_describe(unit),
                attempt=self.tally.num_attempts(unit) + 1,
            )
            executor.submit(given)
        return bool(self.running or self.elsewhere)

    def _tell_of_no_room(self) -> None:
        if not self.running and not self.told:
            self.progress.note("No node of the cluster has room; waiting for one.")
            self.told = True

    def _look(self, executor: Executor) -> None:
        """Now and then: see what other runs have ended, and what is asked of this one."""
        if time.monotonic() < self.looked + LOOK_EVERY:
            return
        self.looked = time.monotonic()
        self.elsewhere = {
            name: key for name, key in self.elsewhere.items() if self._is_being_made(key)
        }
        asked = run_directory.cancelled(self.folder)
        if run_directory.EVERYTHING in asked:
            raise KeyboardInterrupt  # Ctrl-C from afar
        stopped = self.tally.cancel(asked)
        for unit in [*self.running.values(), *self.waiting] if stopped else ():
            if not self.tally.is_wanted(unit):
                self._drop(unit, executor)
        write_events(self.options.results, stopped, [run_directory.event("cancelled")])

    def _is_being_made(self, key: str) -> bool:
        kind = self.tally.graph.stages[key].kind
        try:
            with self.options.store.lock(kind, key).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _drop(self, unit: Unit, executor: Executor) -> None:
        if self.running.pop(unit.id, None):
            executor.cancel(unit.id)
            self.ran |= self._sealed(unit)
            self._log(unit)
        else:
            self.waiting.remove(unit)
            self.elsewhere.pop(unit.id, None)
        self.progress.note(f"{_describe(unit)}: cancelled.")

    def _take(self, outcome: Outcome) -> None:
        unit = self.running.pop(outcome.unit)
        self.ran |= set(outcome.ran)
        if outcome.elsewhere:
            self._log(unit)
            self.elsewhere[unit.id] = outcome.elsewhere
            self.waiting.append(unit)
        elif outcome.failure is None:
            self._log(unit)
            self.progress.stages(len(unit.stages), _describe(unit))
            self.tally.finish(unit)
        else:
            self._take_failure(unit, outcome)

    def _take_failure(self, unit: Unit, outcome: Outcome) -> None:
        assert outcome.failure is not None
        if outcome.failure in ("worker died", "timeout"):
            self.ran |= self._sealed(unit)  # the worker could not say so itself
        said = {"failure": outcome.failure, "stage": outcome.stage, "error": outcome.message}
        self._log(unit, run_directory.event("failed", **said, trace=outcome.trace))
        divisor = self.divisors.get(unit.id, 1)
        attempt = Attempt(
            failure=outcome.failure,
            message=outcome.message,
            stage=outcome.stage,
            micro_batch_divisor=divisor,
        )
        history = self.tally.attempted(unit, attempt)
        divisor_then = next_divisor([one.failure for one in history], divisor)
        where = f"{_describe(unit)}: {outcome.failure}: {outcome.message}"
        if divisor_then is not None:
            self.divisors[unit.id] = divisor_then
            self.waiting.append(unit)
            self.progress.note(f"{where} Trying again (micro-batch divisor {divisor_then}).")
            return
        log = log_path(self.options.results, min(unit.trials))
        self.progress.note(f"{where} (log: {log})")
        self.tally.give_up(unit, f"{outcome.stage or 'the unit'}: {outcome.message}")

    def _log(self, unit: Unit, *more: run_directory.Event) -> None:
        """Move what a worker wrote into the logs of the trials; `more` happened to that worker."""
        path = run_directory.events_path(self.folder, unit.id)
        first, *events = run_directory.read_events(path) or [run_directory.event("taken")]
        path.unlink(missing_ok=True)
        worker = {"host": first["host"], "pid": first["pid"]}
        attempt = {"attempt": self.tally.num_attempts(unit) + 1}
        self.tally.log(unit, [one | worker | attempt for one in (*events, *more)])

    def _sealed(self, unit: Unit) -> set[str]:
        """Return what is in the store of a unit whose worker could not say what it made."""
        store = self.options.store
        return {stage.key for stage in unit.stages if store.has(stage.kind, stage.key)}


def _describe(unit: Unit) -> str:
    """Name a unit by its kinds and by the trial it belongs to, or how many share it."""
    kinds = " → ".join(dict.fromkeys(stage.kind for stage in unit.stages))
    names = sorted(unit.trials)
    return f"{names[0]} ({kinds})" if len(names) == 1 else f"{kinds}, for {len(names)} trials"
