"""From the results of boards to what claims are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.plan.trials import Board
from bench.report.assemble import Cells
from bench.report.claims.runs import Runs, Steps
from bench.report.sweeps import sweeps
from bench.results import load
from bench.results.load import Outcome
from bench.results.schema import Result
from bench.stats.samples import Sample


def read_runs(planned: Sequence[tuple[Board, Cells]], folder: Path) -> Runs:
    """Read the rows of boards that a claim speaks of; of rows of one name the first board's counts.

    Rows are compared only where they were measured on equal data, across boards too.

    Args:
        planned: Boards with their planned trials, as `assemble` takes them.
        folder: Where results are stored.
    """
    found: dict[tuple[str, str], Sample] = {}
    reasons: dict[tuple[str, str], str] = {}
    cells = [cell for _, row in planned for cell in row]
    for dataset in dict.fromkeys(trial.dataset for _, trial in cells):
        positions: dict[str, int] = {}
        for name, outcomes in _outcomes(planned, dataset, folder).items():
            read = _sample(name, outcomes, folder, positions)
            if isinstance(read, Sample):
                found[dataset, name] = read
            else:
                reasons[dataset, name] = read
    return Runs(samples=found, reasons=reasons, sweeps=_sweeps(planned, found))


def _sweeps(
    planned: Sequence[tuple[Board, Cells]], found: Mapping[tuple[str, str], Sample]
) -> dict[tuple[str, str, str], Steps]:
    """Gather the sweeps with a result at each step; a row that an earlier board has is no step."""
    owners: dict[tuple[str, str], str] = {}
    for board, cells in planned:
        for row, trial in cells:
            owners.setdefault((trial.dataset, row.name), board.name)
    kept: dict[tuple[str, str, str], Steps] = {}
    for board, cells in planned:
        for sweep in sweeps(board, cells):
            for dataset in board.card.datasets:
                places = [(dataset, name) for _, name in sweep.steps]
                if all(owners[one] == board.name and one in found for one in places):
                    steps = [(value, found[dataset, name]) for value, name in sweep.steps]
                    kept.setdefault((dataset, sweep.row, sweep.x), steps)
    return kept


def _outcomes(
    planned: Sequence[tuple[Board, Cells]], dataset: str, folder: Path
) -> dict[str, list[Outcome]]:
    """Say how the trials of each row of a data set ended."""
    rows: dict[str, list[str]] = {}
    trials = {}
    for _, cells in planned:
        of_board: dict[str, list[str]] = {}
        for row, trial in cells:
            if trial.dataset == dataset:
                trials[trial.id] = trial
                of_board.setdefault(row.name, []).append(trial.id)
        rows = of_board | rows
    found = {name: load.find(folder, trial) for name, trial in trials.items()}
    good = [one for one in found.values() if isinstance(one, Result) and one.status == "ok"]
    fingerprint = load.common_fingerprint(good)
    return {
        name: [load.outcome(trials[one], found[one], fingerprint) for one in ids]
        for name, ids in rows.items()
    }


def _sample(
    name: str, outcomes: Sequence[Outcome], folder: Path, positions: dict[str, int]
) -> Sample | str:
    """Read a row's seeds that ended well, or say why there is none."""
    good = [one for one in outcomes if one.status == "ok"]
    if not good:
        return " ".join(dict.fromkeys(one.reason for one in outcomes))
    try:
        facts, tables = load.read_row(folder, [one.trial for one in good])
        return load.build(name, [one.seed for one in good], facts, tables, positions)
    except BenchError as error:
        return error.message
