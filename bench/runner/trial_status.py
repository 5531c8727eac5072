"""Status of the trials of a run: recorded, failed, cancelled or skipped; and their logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.plan.graph import Unit, build_graph, divide_into_units, find_missing
from bench.plan.trials import Trial
from bench.results.schema import Attempt, Result, write_result
from bench.runner.run_directory import make_event, write_events
from bench.runner.store import DamagedArtifactError, Store
from bench.runner.write_results import describe_trial, record_success

CANCELLED = "cancelled with `bench cancel`"


@dataclass
class TrialStatus:
    """Follows the trials of a run while their units run.

    Attributes:
        on_result: Called with a trial's id when its result is written or up to date.
        attempts: Failed attempts by unit.
        planned: Trials without a problem by id.
        missing: Keys of the stages that were not in the store at the start.
        units: Units of those stages by id.
        unfinished: Keys of the stages that are still missing.
        num_damaged: Stored artifacts that were damaged when they were opened.
    """

    trials: Sequence[Trial]
    store: Store
    results: Path
    on_result: Callable[[str], object] = str  # does nothing
    recorded: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    attempts: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    num_damaged: int = 0
    _abandoned: dict[str, str] = field(default_factory=dict)  # unit -> reason

    def __post_init__(self) -> None:
        self.planned = {trial.id: trial for trial in self.trials if not trial.problem}
        self.graph = build_graph(self.planned.values())
        self.missing = find_missing(self.graph, lambda stage: self.store.has(stage.kind, stage.key))
        self.units = {unit.id: unit for unit in divide_into_units(self.graph, self.missing)}
        self.unfinished = set(self.missing)
        self._record_finished(self.planned)

    def log_reused_stages(self) -> None:
        """Log, for each trial without a result, which of its stages are stored."""
        for name in self.planned.keys() - self.recorded:
            stages = [self.graph.stages[key] for key in self.graph.needs[name]]
            stored = [stage for stage in stages if stage.key not in self.unfinished]
            events = [make_event("reused", stage=stage.kind, key=stage.key) for stage in stored]
            write_events(self.results, [name], events)

    def finish_unit(self, unit: Unit) -> None:
        """Record the trials that a unit completes."""
        self.unfinished -= {stage.key for stage in unit.stages}
        self._record_finished(unit.trials)

    def abandon_unit(self, unit: Unit, reason: str) -> None:
        """Fail the trials whose evaluation is in the unit; trials that depend on it are skipped."""
        self._abandoned[unit.id] = reason
        lost = {stage.key for stage in unit.stages}
        for name in unit.trials:
            stages = self.planned[name].evaluations.values()
            if any(stage.key in lost for stage in stages):
                self.failed[name] = reason
                self._record_failure(self.planned[name], "failed", reason)

    def cancel_trials(self, names: Iterable[str]) -> set[str]:
        """Cancel trials; return those that had not ended."""
        ended = self.recorded | self.failed.keys() | self.cancelled
        stopped = (self.planned.keys() & set(names)) - ended
        self.cancelled |= stopped
        return stopped

    def is_needed(self, unit: Unit) -> bool:
        """Return whether any trial that is not cancelled needs the unit."""
        return not unit.trials <= self.cancelled

    def record_skipped(self, *, interrupted: bool, lost: str = "") -> dict[str, str]:
        """Record the trials without a result as skipped; return their reasons.

        After a signal those that have not ended are unrecorded. `lost` says why a run was cut off.
        """
        skipped = {trial.id: trial.problem for trial in self.trials if trial.problem}
        for name in self.planned.keys() - self.recorded - self.failed.keys():
            abandoned = [unit for unit in self._abandoned if name in self.units[unit].trials]
            if name in self.cancelled:
                skipped[name] = CANCELLED
            elif abandoned:
                skipped[name] = f"needs a stage that failed: {self._abandoned[abandoned[0]]}"
            elif lost:
                skipped[name] = lost
            else:
                ended = interrupted or self.num_damaged > 0
                assert ended, "a trial was neither recorded, failed nor skipped"
        by_id = {trial.id: trial for trial in self.trials}
        for name, reason in sorted(skipped.items()):
            self._record_failure(by_id[name], "skipped", reason)
        return dict(sorted(skipped.items()))

    def _record_finished(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            trial = self.planned[name]
            if any(stage.key in self.unfinished for stage in trial.evaluations.values()):
                continue
            try:
                record_success(
                    trial,
                    self.graph,
                    store=self.store,
                    results=self.results,
                    attempts=self._list_attempts(name),
                )
            except DamagedArtifactError:
                self.num_damaged += 1
                continue
            self.recorded.add(name)
            self.cancelled.discard(name)
            self.on_result(name)

    def _record_failure(
        self, trial: Trial, status: Literal["failed", "skipped"], reason: str
    ) -> None:
        fields = {**describe_trial(trial), "attempts": self._list_attempts(trial.id)}
        write_result(Result(status=status, reason=reason, **fields), self.results)
        self.on_result(trial.id)

    def _list_attempts(self, name: str) -> list[Attempt]:
        return [
            attempt
            for unit, attempts in self.attempts.items()
            if name in self.units[unit].trials
            for attempt in attempts
        ]
