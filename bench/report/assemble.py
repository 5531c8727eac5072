"""From a board's trials and their results to its table.

Values and marks come from the results' own metrics; the case tables are only read for statistics.
Where the statistics refuse, a cell keeps its values and carries the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardRow, DatasetCard
from bench.errors import BenchError
from bench.hashing import Plain
from bench.plan.trials import Board, Trial
from bench.report import captions
from bench.report.cells import PlainCell, cell, marked, plain
from bench.report.paper import InPrint
from bench.report.significance import Memory, judged
from bench.report.sweeps import sweeps
from bench.report.table import Block, BoardTable, Completeness, Row
from bench.results import load
from bench.results.load import Outcome
from bench.results.schema import Evaluation, Result

Cells = Sequence[tuple[BoardRow, Trial]]


def assemble(
    board: Board,
    cells: Cells,
    results_folder: Path,
    *,
    tested: bool = True,
    memory: Memory | None = None,
) -> BoardTable:
    """Assemble a board's table, with its statistics.

    Args:
        board: The board, as it was run.
        cells: Its planned trials, each with its row.
        results_folder: Where results are stored.
        tested: Whether to test; a list of boards needs their state only.
        memory: Statistics of equal files, kept by whoever renders again and again.

    Returns:
        The table; the same results give an equal one, on any day and any machine.
    """
    source = InPrint.of_board(board.name)
    blocks = _blocks(board, cells, results_folder)
    if source is not None:
        blocks = [source.beside(block, board.card.metrics) for block in blocks]
    if tested:
        metrics, reference = board.card.metrics, board.card.reference_row
        blocks = [judged(block, metrics, reference, results_folder, memory) for block in blocks]
    outcomes = [outcome for block in blocks for row in block.rows for outcome in row.outcomes]
    return BoardTable(
        name=board.name,
        title=board.card.title,
        description=board.card.description,
        reference=board.card.reference_row,
        metrics=board.card.metrics,
        datasets=tuple(blocks),
        completeness=_completeness(outcomes),
        scope=captions.scope(board.card, [trial.rows for _, trial in cells]),
        protocol=captions.protocol(board.card, blocks),
        statistics=captions.statistics(board.card, blocks),
        across=captions.across_datasets(board.card, blocks) if tested else (),
        source=None if source is None else source.source(board.card, blocks),
        sweeps=sweeps(board, cells),
    )


def report_json(
    boards: Sequence[tuple[Board, Cells]], results_folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Report values only: no statistics, dates, cost or provenance; case tables are not opened.

    Returns:
        `{"boards": [{"name", "rows": [{"method", "dataset", "metrics": {name: {"mean", "sd",
        "n_seeds"}}}]}]}`; "method" is the row's name, "sd" is None with one seed, a metric without
        any value is left out, and one whose values are stale says so in a fourth field, "stale".
    """
    return {
        "boards": [
            {
                "name": board.name,
                "rows": [
                    {"method": row.name, "dataset": block.dataset, "metrics": plain_metrics(row)}
                    for block in _blocks(board, cells, results_folder)
                    for row in block.rows
                ],
            }
            for board, cells in boards
        ]
    }


def plain_metrics(row: Row) -> dict[str, PlainCell]:
    """Return a row's values for JSON, those that there are."""
    return {cell.metric: plain(cell) for cell in row.cells if cell.mean is not None}


def _blocks(board: Board, cells: Cells, folder: Path) -> list[Block]:
    datasets = dict.fromkeys(trial.dataset for _, trial in cells)
    return [
        _block(board, name, [cell for cell in cells if cell[1].dataset == name], folder)
        for name in datasets
    ]


def _block(board: Board, dataset: str, cells: Cells, folder: Path) -> Block:
    """Fill in one data set's values and marks, without statistics."""
    found = {trial.id: load.find(folder, trial) for _, trial in cells}
    results = [one for one in found.values() if isinstance(one, Result) and one.status == "ok"]
    fingerprint = load.common_fingerprint(results)
    rows = []
    for line in {row.name: row for row, _ in cells}.values():
        trials = [trial for row, trial in cells if row.name == line.name]
        rows.append(_row(board, line, trials, _outcomes(trials, found, fingerprint)))
    facts = _facts(results, fingerprint)
    card = _card(dataset)
    return Block(
        dataset=dataset,
        title=card.title if card else dataset,
        num_cases=facts.num_cases if facts else None,
        num_items=facts.num_items if facts else None,
        fingerprint=fingerprint,
        license=card.license if card else "",
        citation=card.citation if card else "",
        homepage=(card.homepage or "") if card else "",
        rows=marked(rows, board.card.metrics),
    )


def _outcomes(
    trials: Sequence[Trial], found: Mapping[str, Result | BenchError | None], fingerprint: str
) -> list[Outcome]:
    """Say how the trials of a row ended, one outcome a seed."""
    of_seed: dict[int, dict[str, Trial]] = {}
    for trial in trials:
        of_seed.setdefault(trial.seed, {})[trial.id] = trial
    return [
        load.twice(seed, list(of_one.values()))
        if len(of_one) > 1
        else load.outcome(one := next(iter(of_one.values())), found[one.id], fingerprint)
        for seed, of_one in of_seed.items()
    ]


def _card(dataset: str) -> DatasetCard | None:
    """Load the card for what it says about the data; results outlive cards, so it may be gone."""
    try:
        return plugins.dataset_card(dataset)
    except BenchError:
        return None


def _facts(results: Sequence[Result], fingerprint: str) -> Evaluation | None:
    for result in results:
        if result.data is not None and result.data.fingerprint == fingerprint:
            return result.evaluations.get(load.FINAL)
    return None


def _row(board: Board, line: BoardRow, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> Row:
    return Row(
        name=line.name,
        method=line.method,
        ranked=line.ranked,
        reference=line.name == board.card.reference_row,
        cells=tuple(cell(metric, outcomes) for metric in board.card.metrics),
        settings=tuple((key, _text(value)) for key, value in sorted(trials[0].settings.items())),
        outcomes=tuple(outcomes),
    )


def _text(value: Plain) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _completeness(outcomes: Sequence[Outcome]) -> Completeness:
    statuses = [outcome.status for outcome in outcomes]
    return Completeness(
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        not_run=statuses.count("not run"),
        stale=sum(bool(outcome.stale) for outcome in outcomes),
    )
