"""What becomes of the trials of a run: recorded, failed, cancelled, skipped; and their logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.plan.graph import Graph, Unit, build, missing, units
from bench.plan.trials import Trial
from bench.results.schema import Attempt
from bench.runner.logs import write_events
from bench.runner.run_directory import Event, event
from bench.runner.store import Store
from bench.runner.write_results import record_failure, record_success

CANCELLED = "cancelled with `bench cancel`"


@dataclass
class Tally:
    """Follows trials while their units run.

    Attributes:
        trials: All trials of the run; one with a `problem` is recorded as skipped.
        store: Where artifacts lie.
        results: Folder of the results.
        tell: Called with a trial's id when its result is written, or stands already.
        planned: Trials that can run, by id.
        missing: Keys of the stages that were not in the store at the start.
        units: Units of work that were missing at the start, by id.
        unfinished: Keys of the stages that are still missing.
    """

    trials: Sequence[Trial]
    store: Store
    results: Path
    tell: Callable[[str], None] = lambda trial: None
    recorded: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    _attempts: dict[str, list[Attempt]] = field(default_factory=dict)  # by unit
    _broken: dict[str, str] = field(default_factory=dict)  # unit -> why it was given up

    def __post_init__(self) -> None:
        self.planned = {trial.id: trial for trial in self.trials if not trial.problem}
        self.graph: Graph = build(self.planned.values())
        self.missing = missing(self.graph, lambda stage: self.store.has(stage.kind, stage.key))
        self.units = {unit.id: unit for unit in units(self.graph, self.missing)}
        self.unfinished = set(self.missing)
        self._record_finished(self.planned)

    def log_reused(self) -> None:
        """Write into the log of each trial that is to go on what it has already."""
        for name in self.planned.keys() - self.recorded:
            stages = [self.graph.stages[key] for key in self.graph.needs[name]]
            there = [stage for stage in stages if stage.key not in self.unfinished]
            lines = [event("reused", stage=stage.kind, key=stage.key) for stage in there]
            write_events(self.results, [name], lines)

    def log(self, unit: Unit, events: Sequence[Event]) -> None:
        """Write events of a unit into the logs of its trials."""
        write_events(self.results, sorted(unit.trials), events)

    def attempted(self, unit: Unit, attempt: Attempt) -> list[Attempt]:
        """Note a try that did not end well; return all of the unit."""
        history = self._attempts.setdefault(unit.id, [])
        history.append(attempt)
        return history

    def num_attempts(self, unit: Unit) -> int:
        """Return how many tries of a unit did not end well."""
        return len(self._attempts.get(unit.id, ()))

    def finish(self, unit: Unit) -> None:
        """Record the trials that a unit completes."""
        self.unfinished -= {stage.key for stage in unit.stages}
        self._record_finished(unit.trials)

    def give_up(self, unit: Unit, why: str) -> None:
        """Fail the trials whose own evaluation was in the unit; those behind it are skipped."""
        self._broken[unit.id] = why
        lost = {stage.key for stage in unit.stages}
        for name in unit.trials:
            trial = self.planned[name]
            if any(stage.key in lost for stage in trial.evaluations.values()):
                self.failed[name] = why
                record_failure(
                    trial,
                    status="failed",
                    reason=why,
                    results=self.results,
                    attempts=self._attempts_of(name),
                )
                self.tell(name)

    def cancel(self, names: Iterable[str]) -> set[str]:
        """Stop counting on some trials; return those that had not ended."""
        stopped = {
            name
            for name in self.planned.keys() & set(names)
            if name not in self.recorded | self.failed.keys() | self.cancelled
        }
        self.cancelled |= stopped
        return stopped

    def is_wanted(self, unit: Unit) -> bool:
        """Tell whether a trial that was not cancelled needs the unit."""
        return not unit.trials <= self.cancelled

    def record_rest(self, *, interrupted: bool) -> dict[str, str]:
        """Record the trials that have no result as skipped; return them with their reasons."""
        skipped = {trial.id: trial.problem for trial in self.trials if trial.problem}
        for name in self.planned.keys() - self.recorded - self.failed.keys():
            behind = [why for unit, why in self._broken.items() if name in self.units[unit].trials]
            if name in self.cancelled:
                skipped[name] = CANCELLED
            elif behind:
                skipped[name] = f"needs a stage that failed: {behind[0]}"
            else:
                assert interrupted, "a trial was neither recorded, failed nor skipped"
        by_id = {trial.id: trial for trial in self.trials}
        for name, reason in sorted(skipped.items()):
            record_failure(
                by_id[name],
                status="skipped",
                reason=reason,
                results=self.results,
                attempts=[] if by_id[name].problem else self._attempts_of(name),
            )
            self.tell(name)
        return dict(sorted(skipped.items()))

    def _record_finished(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            trial = self.planned[name]
            if any(stage.key in self.unfinished for stage in trial.evaluations.values()):
                continue
            record_success(
                trial,
                self.graph,
                store=self.store,
                results=self.results,
                attempts=self._attempts_of(name),
            )
            self.recorded.add(name)
            self.tell(name)
            self.cancelled.discard(name)

    def _attempts_of(self, name: str) -> list[Attempt]:
        return [
            attempt
            for unit, history in self._attempts.items()
            if name in self.units[unit].trials
            for attempt in history
        ]
