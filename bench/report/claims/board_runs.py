"""From the results of boards to the samples and sweeps that claims are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.config.cards import BoardRow
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.report.assemble import RowTrials, outcomes_by_row
from bench.report.claims.runs import Runs, Steps
from bench.report.sweeps import find_sweeps
from bench.results.load import ResultSet
from bench.stats.samples import Sample


def read_runs(planned: Sequence[tuple[Board, RowTrials]], results: ResultSet) -> Runs:
    """Read the rows of boards that a claim names; of rows with equal names the first board's count.

    Rows are compared only where they were measured on equal data, across boards too.

    Args:
        planned: Boards with their planned trials.
        results: The results.
    """
    owners: dict[tuple[str, str], str] = {}
    for board, row_trials in planned:
        for row, trial in row_trials:
            owners.setdefault((trial.dataset, row.name), board.name)
    by_dataset: dict[str, list[tuple[BoardRow, Trial]]] = {}
    for board, row_trials in planned:
        for row, trial in row_trials:
            if owners[trial.dataset, row.name] == board.name:
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
    return Runs(samples=samples, reasons=reasons, sweeps=_sweep_steps(planned, samples, owners))


def _sweep_steps(
    planned: Sequence[tuple[Board, RowTrials]],
    samples: Mapping[tuple[str, str], Sample],
    owners: Mapping[tuple[str, str], str],
) -> dict[tuple[str, str, str], Steps]:
    """Gather the sweeps that have a result at each step; an earlier board's row is no step."""
    steps: dict[tuple[str, str, str], Steps] = {}
    for board, row_trials in planned:
        for sweep in find_sweeps(board, row_trials):
            for dataset in board.card.datasets:
                rows = [(dataset, name) for _, name in sweep.steps]
                if all(owners.get(row) == board.name and row in samples for row in rows):
                    steps.setdefault(
                        (dataset, sweep.row, sweep.x),
                        [(value, samples[dataset, name]) for value, name in sweep.steps],
                    )
    return steps
