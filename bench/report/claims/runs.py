"""Our results as claims need them: samples by data set and row, sweeps, and tests between rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.config.cards import BoardRow
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.report.assemble import RowTrials, outcomes_by_row
from bench.report.sweeps import find_sweeps
from bench.results.load import ResultSet
from bench.stats.compare import Comparison, compare
from bench.stats.samples import Sample

NO_RESULT = "no result yet"

Steps = Sequence[tuple[float, Sample]]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Results of boards.

    Attributes:
        samples: By the data set's card and the row's name on its board.
        sweeps: By data set, row and the name of the swept setting: its values with their samples,
            in any order.
        reasons: Why a row has no sample on a data set, where a reason was recorded.
    """

    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    sweeps: Mapping[tuple[str, str, str], Steps] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _comparisons: dict[tuple[str, str, str, str], Comparison] = field(default_factory=dict)

    def explain_missing(self, dataset: str, row: str) -> str:
        """Return why a row has no sample; "" if it has one."""
        if (dataset, row) in self.samples:
            return ""
        reason = self.reasons.get((dataset, row), NO_RESULT).rstrip(".")
        return f"{row} on {dataset}: {reason}" if dataset else f"{row}: {reason}"

    def compare(self, dataset: str, reference: str, other: str, metric: str) -> Comparison:
        """Compare two rows, uncorrected; claims share many comparisons, so they are cached."""
        key = (dataset, reference, other, metric)
        if key not in self._comparisons:
            samples = self.samples[dataset, reference], self.samples[dataset, other]
            self._comparisons[key] = compare(*samples, metric)
        return self._comparisons[key]


def read_runs(planned: Sequence[tuple[Board, RowTrials]], results: ResultSet) -> Runs:
    """Read the rows of boards that a claim names; of rows with equal names the first board's count.

    Rows are compared only where they were measured on equal data, across boards too.

    Args:
        planned: Boards with their planned trials.
        results: The results.
    """
    owners: dict[tuple[str, str], str] = {}
    by_dataset: dict[str, list[tuple[BoardRow, Trial]]] = {}
    for board, row_trials in planned:
        for row, trial in row_trials:
            if owners.setdefault((trial.dataset, row.name), board.name) == board.name:
                by_dataset.setdefault(trial.dataset, []).append((row, trial))
    samples: dict[tuple[str, str], Sample] = {}
    reasons: dict[tuple[str, str], str] = {}
    for dataset, row_trials in by_dataset.items():
        for name, outcomes in outcomes_by_row(row_trials, results).items():
            trials = [outcome.trial for outcome in outcomes if outcome.status == "ok"]
            try:
                if trials:
                    samples[dataset, name] = results.sample(name, trials)
                else:
                    reasons[dataset, name] = " ".join(dict.fromkeys(o.reason for o in outcomes))
            except BenchError as error:
                reasons[dataset, name] = error.message
    # A sweep needs a result at each step; a row of an earlier board is no step.
    sweeps: dict[tuple[str, str, str], Steps] = {}
    for board, row_trials in planned:
        for sweep in find_sweeps(board, row_trials):
            for dataset in board.card.datasets:
                rows = [(dataset, name) for _, name in sweep.steps]
                if all(owners.get(row) == board.name and row in samples for row in rows):
                    steps = [(value, samples[dataset, name]) for value, name in sweep.steps]
                    sweeps.setdefault((dataset, sweep.row, sweep.x), steps)
    return Runs(samples=samples, reasons=reasons, sweeps=sweeps)
