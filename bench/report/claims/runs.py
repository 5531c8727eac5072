"""Our results as claims need them: samples by data set and row, sweeps, and tests between rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.config.cards import BoardRow
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.report.assemble import RowTrials, outcomes_by_row
from bench.report.claims.measures import Measure, measure_seeds
from bench.report.deviations import find_difference
from bench.report.significance import AVERAGED
from bench.report.sweeps import CHECKPOINTS, find_sweeps
from bench.results.load import ResultSet
from bench.results.outcomes import Outcome
from bench.results.schema import Result
from bench.stats.compare import Comparison, compare
from bench.stats.samples import Sample
from bench.stats.seed_variance import compute_seed_values

T = TypeVar("T")

NO_RESULT = "no result yet"

SeedValues = Mapping[int, float]
Step = str | Mapping[str, SeedValues]
"""Name of a row, or a checkpoint's metrics by seed."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Results of boards.

    Attributes:
        samples: By the data set's card and the row's name on its board. A data set in place of the
            paper's counts as the paper's; `differences` says so.
        sweeps: By data set, row and the name of the swept setting: its values with their steps, in
            any order.
        means: Metrics by seed of a row whose values are means over rounds; it has no sample.
        reasons: Why a row has no sample on a data set, where a reason was recorded.
        results: Of a row's seeds on a data set, in which measures are read.
        measures: That the claims name, by name.
        differences: Of a row on a data set from what its board declares, which is what the paper
            ran: backbone, budget and data; "" or absent where there is none.
    """

    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)
    sweeps: dict[tuple[str, str, str], Sequence[tuple[float, Step]]] = field(default_factory=dict)
    means: dict[tuple[str, str], Mapping[str, SeedValues]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    results: dict[tuple[str, str], Sequence[Result]] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    differences: dict[tuple[str, str], str] = field(default_factory=dict)
    _comparisons: dict[tuple[str, str, str, str], Comparison] = field(default_factory=dict)

    def explain_missing(self, dataset: str, row: str) -> str:
        """Return why a row has no sample; "" if it has one."""
        if (dataset, row) in self.samples:
            return ""
        reason = self.reasons.get((dataset, row), NO_RESULT).rstrip(".")
        return f"{row} on {dataset}: {reason}" if dataset else f"{row}: {reason}"

    def seed_values(self, dataset: str, row: str, metric: str) -> SeedValues:
        """Return a metric or measure of a row by seed."""
        measure = self.measures.get(metric)
        if measure is None and (dataset, row) in self.means:
            return self.means[dataset, row].get(metric, {})
        if measure is None:
            return compute_seed_values(self.samples[dataset, row], metric)
        base = self.results.get((dataset, measure.relative_to), ())
        return measure_seeds(measure, self.results[dataset, row], base)

    def sweep_values(
        self, dataset: str, row: str, x: str, metric: str
    ) -> list[tuple[float, SeedValues]]:
        """Return a metric or measure over the steps of a sweep, by seed."""
        return [
            (
                value,
                self.seed_values(dataset, step, metric)
                if isinstance(step, str)
                else step.get(metric, {}),
            )
            for value, step in self._sort_steps(dataset, row, x)
        ]

    def sweep_samples(self, dataset: str, row: str, x: str) -> list[Sample]:
        """Return the samples of a sweep's steps; none where a step has one value per seed only."""
        steps = [step for _, step in self._sort_steps(dataset, row, x)]
        rows = [(dataset, step) for step in steps if isinstance(step, str)]
        samples = [self.samples[key] for key in rows if key in self.samples]
        return samples if len(samples) == len(steps) else []

    def _sort_steps(self, *key: str) -> list[tuple[float, Step]]:
        dataset, row, x = key
        return sorted(self.sweeps[dataset, row, x], key=lambda pair: pair[0])

    def compare(self, dataset: str, reference: str, other: str, metric: str) -> Comparison:
        """Compare two rows, uncorrected; claims share many comparisons, so they are cached."""
        key = (dataset, reference, other, metric)
        if key not in self._comparisons:
            samples = self.samples[dataset, reference], self.samples[dataset, other]
            self._comparisons[key] = compare(*samples, metric)
        return self._comparisons[key]


def map_common_seeds(
    steps: Sequence[SeedValues], function: Callable[[Sequence[float]], T]
) -> list[T]:
    """Apply a function to the values of each seed that all rows or steps have."""
    seeds = sorted(set.intersection(*(set(values) for values in steps)))
    if not seeds:
        raise BenchError("The rows or steps have no seed in common.")
    return [function([values[seed] for values in steps]) for seed in seeds]


def read_runs(planned: Sequence[tuple[Board, RowTrials]], results: ResultSet) -> Runs:
    """Read the rows of boards that a claim names; of rows with equal names the first board's count.

    Rows are compared only where they were measured on equal data, across boards too.
    """
    runs = Runs()
    owners: dict[tuple[str, str], str] = {}
    by_dataset: dict[str, list[tuple[BoardRow, Trial]]] = {}
    for board, row_trials in planned:
        for row, trial in row_trials:
            row_key = (board.card.in_place_of.get(trial.dataset, trial.dataset), row.name)
            if owners.setdefault(row_key, board.name) == board.name:
                by_dataset.setdefault(row_key[0], []).append((row, trial))
            if not runs.differences.get(row_key):
                runs.differences[row_key] = find_difference(board, row, trial, results)
    for dataset, row_trials in by_dataset.items():
        for name, outcomes in outcomes_by_row(row_trials, results).items():
            row_key = (dataset, name)
            successful = [outcome for outcome in outcomes if outcome.status == "ok"]
            trials = [outcome.trial for outcome in successful]
            runs.results[row_key] = [results.results[trial] for trial in trials]
            try:
                if any(len(outcome.rounds) > 1 for outcome in successful):
                    metrics = [(outcome.seed, outcome.metrics) for outcome in successful]
                    runs.means[row_key] = _group_by_metric(metrics)
                    runs.reasons[row_key] = AVERAGED
                elif trials:
                    runs.samples[row_key] = results.sample(name, trials)
                else:
                    runs.reasons[row_key] = " ".join(dict.fromkeys(o.reason for o in outcomes))
            except BenchError as error:
                runs.reasons[row_key] = error.message
            if steps := _checkpoints(successful):
                runs.sweeps[dataset, name, CHECKPOINTS] = steps
    # A sweep needs a result at each step; a row of an earlier board is no step.
    for board, row_trials in planned:
        for sweep in find_sweeps(board, row_trials):
            for dataset in (board.card.in_place_of.get(name, name) for name in board.card.datasets):
                rows = [(dataset, name) for _, name in sweep.steps]
                key = (dataset, sweep.row, sweep.x)
                if key not in runs.sweeps and all(
                    owners.get(row) == board.name and (row in runs.samples or row in runs.means)
                    for row in rows
                ):
                    runs.sweeps[key] = sweep.steps
                    # The swept row has no trials of its own: it differs as its steps do.
                    if not runs.differences.get(key[:2]):
                        runs.differences[key[:2]] = runs.differences[rows[0]]
    return runs


def _checkpoints(outcomes: Sequence[Outcome]) -> Sequence[tuple[float, Step]]:
    """List the metrics by seed at the checkpoints that all seeds have, numbered from 0."""
    names = [[name for name, _ in outcome.checkpoints] for outcome in outcomes]
    if not names or any(other != names[0] for other in names):
        return ()
    steps = [[(each.seed, metrics) for _, metrics in each.checkpoints] for each in outcomes]
    by_step = zip(*steps, strict=True)
    return [(float(index), _group_by_metric(step)) for index, step in enumerate(by_step)]


def _group_by_metric(
    seeds: Sequence[tuple[int, Sequence[tuple[str, float]]]],
) -> dict[str, SeedValues]:
    values: dict[str, dict[int, float]] = {}
    for seed, metrics in seeds:
        for metric, value in metrics:
            values.setdefault(metric, {})[seed] = value
    return dict(values)
