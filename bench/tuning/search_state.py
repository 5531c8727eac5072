"""What a search knows: looks whose evaluation is in the store, looks that failed, what is next.

Nothing else is kept of a search: after a SIGKILL the store says how far it came, and failures are
tried again, as in every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.plan.graph import Graph, build_graph, divide_into_units, find_missing
from bench.plan.trials import Trial
from bench.results.schema import Attempt
from bench.runner.loop import RunOptions
from bench.runner.retry_policy import decide_retry
from bench.runner.worker import TaskResult, TaskSpec, make_task
from bench.runner.write_results import record_failure, record_success
from bench.tuning.asha import Look, Standing, standings
from bench.tuning.search import Search


class Book:
    """Keeps a search.

    Args:
        search: The search.
        options: Where artifacts and results lie; the results are of validation cases, and so never
            lie where a board's do.

    Attributes:
        values: Value of the metric by look.
        problems: By look, why it has none.
        ran: Keys of the stages that were made for it now.
        num_cases: Validation cases, as soon as a look was made.
        graph: The stages of all looks that may be made.
    """

    def __init__(self, search: Search, options: RunOptions) -> None:
        self.search, self.options = search, options
        self.values: dict[Look, float] = {}
        self.problems: dict[Look, str] = {}
        self.ran: set[str] = set()
        self.num_cases: int | None = None
        self._metric = get_metric(search.setup.metric)
        self.graph: Graph = build_graph(_distinct(search.trials.values()))
        self._attempts: dict[Look, list[Attempt]] = {}
        for look, trial in search.trials.items():
            if trial.problem:
                self.problems[look] = trial.problem
        self._catch_up()

    def ready(self) -> list[Look]:
        """Return the looks that can be made now."""
        return self._replayed()[1]

    def standings(self) -> list[Standing]:
        """Return where each configuration stands."""
        return self._replayed()[0]

    @property
    def best(self) -> int | None:
        """The best configuration among those looked at to the end; of equal ones, the first."""
        last = len(self.search.rungs) - 1
        ended = [look.configuration for look in self.values if look.rung == last]
        standing = self.standings()
        fair = sorted(number for number in ended if standing[number].state == "finished")
        return max(fair, key=lambda number: self._gain(Look(number, last)), default=None)

    def order(self, look: Look) -> TaskSpec:
        """Write down the work that a look needs."""
        trial = self.search.trials[look]
        graph = build_graph([trial])
        store = self.options.store
        # Nothing may be missing any more, where another driver shares the store.
        last = trial.evaluations["final"].key
        keys = find_missing(graph, lambda stage: store.has(stage.kind, stage.key)) or [last]
        (unit,) = divide_into_units(graph, keys)
        return make_task(unit, store=store.root, job=self.options.make_job())

    def take(self, look: Look, outcomes: Sequence[TaskResult]) -> None:
        """Enter what became of a look: the tries of its work, the last one deciding."""
        self.ran |= {key for outcome in outcomes for key in outcome.computed}
        self._attempts[look] = attempts(outcomes)
        last = outcomes[-1]
        if last.failure is None:
            self._enter(look)
        else:
            self._fail(look, f"{last.stage or 'the unit'}: {last.message}")
        self._catch_up()

    def seconds(self, looks: Iterable[Look]) -> float:
        """Add up what the distinct stages of some looks took, from scratch."""
        metas = {}
        for look in looks:
            trial = self.search.trials[look]
            for key in self.graph.needs[trial.id]:
                metas[key] = self.options.store.meta(self.graph.stages[key].kind, key)
        return float(sum(meta["seconds"] for meta in metas.values() if meta is not None))

    def _catch_up(self) -> None:
        """Enter the looks that the search has come to and that the store knows already."""
        while known := [look for look in self.ready() if self._is_stored(look)]:
            for look in known:
                self._enter(look)

    def _replayed(self) -> tuple[list[Standing], list[Look]]:
        told: dict[Look, float | None] = {look: self._gain(look) for look in self.values}
        told |= dict.fromkeys(self.problems)
        return standings(
            told,
            num=len(self.search.changes),
            num_rungs=len(self.search.rungs),
            factor=self.search.space.factor,
        )

    def _gain(self, look: Look) -> float:
        return self.values[look] if self._metric.higher_is_better else -self.values[look]

    def _is_stored(self, look: Look) -> bool:
        stage = self.search.trials[look].evaluations["final"]
        return self.options.store.has(stage.kind, stage.key)

    def _enter(self, look: Look) -> None:
        trial = self.search.trials[look]
        stage = trial.evaluations["final"]
        try:
            folder = self.options.store.open(stage.kind, stage.key)
            content = json.loads((folder / "evaluation.json").read_bytes())["evaluation"]
            metrics: Mapping[str, float] = content["metrics"]
            if self._metric.name not in metrics:
                raise BenchError(f"Its evaluation has no {self._metric.name}.")
        except BenchError as error:
            self._fail(look, error.message)
            return
        record_success(
            trial,
            self.graph,
            store=self.options.store,
            results=self.options.results,
            attempts=self._attempts.get(look, ()),
        )
        self.values[look] = metrics[self._metric.name]
        self.num_cases = content["num_cases"]

    def _fail(self, look: Look, reason: str) -> None:
        self.problems[look] = reason
        record_failure(
            self.search.trials[look],
            status="failed",
            reason=reason,
            results=self.options.results,
            attempts=self._attempts.get(look, ()),
        )


def attempts(outcomes: Sequence[TaskResult]) -> list[Attempt]:
    """Return the failed tries of a look, each with the micro-batch divisor that it ran with."""
    found: list[Attempt] = []
    divisor: int | None = 1
    for outcome in outcomes:
        if outcome.failure is None:
            break
        assert divisor is not None, "a try after the policy gave up"
        found.append(
            Attempt(
                failure=outcome.failure,
                message=outcome.message,
                stage=outcome.stage,
                micro_batch_divisor=divisor,
            )
        )
        divisor = decide_retry([attempt.failure for attempt in found], divisor)
    return found


def _distinct(trials: Iterable[Trial]) -> list[Trial]:
    return list({trial.id: trial for trial in trials if not trial.problem}.values())


def results_folder(searches: Path, search: Search) -> Path:
    """Return where the results of a search's trials lie."""
    return searches / search.id / "results"
